"""What the user turns: typed settings, read from one TOML file.

Every mistake in the file is reported at once, with its key and what is allowed. What the settings mean for
the method is said in the modules that use them; nothing is computed here.
"""

import os
import tomllib
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, ValidationError, model_validator

from onaspr_core.backbones.settings import BackboneSettings as BackboneSettings
from onaspr_core.errors import UserError
from onaspr_core.evaluation.settings import PROMPTS_OF_BENCHMARK as PROMPTS_OF_BENCHMARK
from onaspr_core.evaluation.settings import BenchmarkSettings as BenchmarkSettings
from onaspr_core.evaluation.settings import EvaluationSettings as EvaluationSettings
from onaspr_core.evaluation.settings import FeatureSettings as FeatureSettings
from onaspr_core.evaluation.settings import NetworkSettings as NetworkSettings
from onaspr_core.pool.settings import ClipSettings as ClipSettings
from onaspr_core.pool.settings import PoolSettings as PoolSettings
from onaspr_core.setting_types import (
    NAME_RULE,
    BatchSize,
    Count,
    Fraction,
    Gate,
    Name,
    Positive,
    Section,
    distinct,
    finite,
    not_nan,
)
from onaspr_core.settings_mistakes import allowed, mistakes_in, tables

LARGEST, LONGEST_LINE = 2**20, 4096
"""Characters of a settings file, and of a line of it: parsing takes time in the square of a key's length."""


class StoreSettings(Section):
    """Where everything that is made is kept."""

    root: str = "data/store"


class ComputeSettings(Section):
    """Where models run: in the process of the run, or on the workers of a Ray cluster.

    `address` is the cluster's; without it RAY_ADDRESS is taken, and without that Ray is started on this
    machine. Each worker has a share of a machine's CPUs and GPUs ("auto": one GPU where the cluster has any).
    There are as many as the cluster has room for, or `workers`; a run waits `wait_seconds` for the first.
    """

    engine: Literal["local", "ray"] = "local"
    address: str = ""
    workers: Annotated[int, Field(ge=0)] = 0
    cpus_per_worker: Positive = 1.0
    gpus_per_worker: Literal["auto"] | Annotated[float, Field(ge=0), AfterValidator(finite)] = "auto"
    wait_seconds: Positive = 300.0


class EmbeddingSettings(Section):
    """The Sentence-BERT model that captions and prompts are compared with (Eq 3, Eq 6).

    `model` is a folder, or a hub id at `revision`: a branch, a tag, or best a commit, which never moves.
    """

    model: str = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
    revision: str = "main"
    batch_size: Count = 256


class ReferenceSettings(Section):
    """How many similar captions the language model sees (the paper's k)."""

    k: Annotated[int, Field(ge=0)] = 5


class RewriterSettings(Section):
    """The language model that enriches prompts (Eq 7) and the guard that keeps it honest.

    `one_shot` is how small models are asked: a worked example, more words around Eq 7's instruction, answers
    that end at a punctuation mark, and up to six draws. Left out, the default model, which comes with the
    project, is asked so; any other gets the instruction alone, told that captions are
    data, and answers once. `retries` is how often a
    prompt is asked for again when no answer passes the guard; `minimum_similarity` is a cosine.
    """

    model: str = "smollm2-135m-instruct"
    one_shot: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=2), AfterValidator(finite)] = 0.0
    seed: int = 0
    max_words: Count = 20
    minimum_similarity: Fraction = 0.65
    retries: Annotated[int, Field(ge=0)] = 1
    timeout_seconds: Positive = 60.0


class SamplingSettings(Section):
    """DDIM steps (the paper's T), classifier-free guidance, and how many videos go through at once.

    With `batch_size` 1 a video is the same to the byte whichever others are missing beside it. Larger batches
    are faster on a GPU, and equal up to the rounding of floating-point sums; "auto" doubles the batch as long
    as that makes it faster. A batch that does not fit into the GPU's memory is halved.
    """

    steps: Annotated[int, Field(ge=1, le=1000)] = 50
    guidance_scale: Annotated[float, Field(ge=1), AfterValidator(finite)] = 9.0
    batch_size: BatchSize = 1


class InversionSettings(Section):
    """DDIM inversion (Eq 2). Steps are those of sampling: both walk one grid.

    The first five are options beyond the paper, off by default (`docs/options.md`). The first
    `forward_diffusion_steps` of inversion are forward diffusion with seeded noise instead; `whitening` brings
    inverted noise nearer to white noise; the noises of the n = `neighbours` nearest clips are blended; below
    a cosine of `similarity_gate`'s first number eta is 0, above its second whole, and linear between.
    """

    fixed_point_iterations: Annotated[int, Field(ge=0)] = 0
    forward_diffusion_steps: Annotated[int, Field(ge=0)] = 0
    whitening: Literal["none", "standardize", "spatial"] = "none"
    neighbours: Count = 1
    similarity_gate: Gate | None = None
    scope: Literal["prompts", "pool"] = "prompts"
    measure_round_trip: bool = True
    batch_size: BatchSize = 1


class CheckSettings(Section):
    """From when on a check says that a person should look. No result depends on it, and no version moves.

    Four are shares, 0 … 1: of prompts that kept their original text, of a pool's videos that became no
    clip, of its pairs that a benchmark has too, and of inverted latents that are unlike Gaussian noise.
    `index_recall` is the least share of the five nearest captions that the index of a pool may find. A
    latent is unlike noise when its mean is farther than `noise_mean` from 0, its variance more than a
    factor `noise_variance` from 1, its kurtosis farther than `noise_kurtosis` from 3, or the correlation
    of neighbouring values, in space or in time, farther than `noise_correlation` from 0.
    """

    fallback_share: Fraction = 0.25
    unreadable_share: Fraction = 0.05
    leaked_share: Fraction = 0.001
    index_recall: Fraction = 0.99
    noise_share: Fraction = 0.05
    noise_mean: Positive = 0.25
    noise_variance: Annotated[float, Field(gt=1), AfterValidator(finite)] = 2.0
    noise_kurtosis: Positive = 1.5
    noise_correlation: Annotated[float, Field(gt=0, le=1), AfterValidator(finite)] = 0.5


class Experiment(Section):
    """One named combination of pool, prompts and backbone with its own eta and gamma.

    `name` is the table's name in the file: `[experiments.NAME]`. Of `pool` only the first `pool_size` pairs
    by rank that became clips are borrowed from, all where it is left out. `prompts` is a prompt file, or
    "benchmark" for the captions of `evaluation.benchmark`, under the ids of its videos.
    """

    name: str
    pool: Name
    pool_size: Count | None = None
    backbone: Name
    prompts: str
    prompt_limit: Count | None = None
    seed: int = 0
    eta: Annotated[float, Field(ge=0), AfterValidator(not_nan)]
    gamma: Annotated[float, Field(ge=0, le=1), AfterValidator(not_nan)]
    references: ReferenceSettings = ReferenceSettings()
    rewriter: RewriterSettings = RewriterSettings()
    sampling: SamplingSettings = SamplingSettings()
    inversion: InversionSettings = InversionSettings()
    evaluation: EvaluationSettings

    @model_validator(mode="after")
    def _forward_diffusion_is_within_the_steps(self) -> "Experiment":
        forward, steps = self.inversion.forward_diffusion_steps, self.sampling.steps
        if forward > steps:
            raise ValueError(
                f"inversion.forward_diffusion_steps = {forward}: allowed is up to sampling.steps = {steps}"
            )
        return self

    @model_validator(mode="after")
    def _prompts_of_a_benchmark_need_one(self) -> "Experiment":
        if self.prompts == PROMPTS_OF_BENCHMARK and self.evaluation.benchmark is None:
            raise ValueError(
                'prompts = "benchmark" needs evaluation.benchmark; set it, or name a prompt file (.txt, '
                ".csv, .jsonl)"
            )
        return self

    def changed(self, **values: Any) -> "Experiment":
        """Return the experiment with other values of some keys, checked as those of the file are.

        Raises:
            UserError: one error that lists every mistake.
        """
        try:
            return Experiment.model_validate({**self.model_dump(), **values})
        except ValidationError as problem:
            raise UserError("; ".join(_field_mistakes(problem))) from None


Value = TypeVar("Value")
Values = Annotated[tuple[Value, ...], Field(strict=False, min_length=1), AfterValidator(distinct)]
"""What a study sets one after another: an array of different values, the first of which is compared with."""


class StudySettings(Section):
    """What the studies compare: the paper's tables and figures (`onaspr_core.studies`).

    `experiments` are the rows of Table 1 and Figure 3, those that make videos, and of Table 3, those that
    make images. The others are what a sweep sets, one value after another, the paper's where left out: eta
    (Figure 4), gamma (Table 2b), `references` (k, Table 2c) and `pool_sizes` (N, Table 2a; those beyond the
    pool's are left out). `rewriters` are those of Table 2d, by the name they are shown by; with none there is
    no Table 2d.
    """

    experiments: Annotated[tuple[Name, ...], Field(strict=False), AfterValidator(distinct)] = ()
    eta: Values[Annotated[float, Field(ge=0), AfterValidator(not_nan)]] = (
        *(0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
        inf,
    )
    gamma: Values[Fraction] = (0.0, 0.1, 0.2, 0.5, 1.0)
    references: Values[Annotated[int, Field(ge=0)]] = (0, 1, 2, 5, 10)
    pool_sizes: Values[Count] = (10_000, 100_000, 1_000_000, 10_000_000)
    rewriters: dict[str, RewriterSettings] = Field(default_factory=dict)


class Settings(Section):
    """The whole file. Use `load_settings` to read one."""

    base: Path
    store: StoreSettings = StoreSettings()
    compute: ComputeSettings = ComputeSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    checks: CheckSettings = CheckSettings()
    pools: dict[Name, PoolSettings]
    backbones: dict[Name, BackboneSettings]
    experiments: dict[Name, Experiment]
    studies: StudySettings = StudySettings()

    def experiment(self, name: str) -> Experiment:
        """Return an experiment by name.

        Raises:
            UserError: when the file has none of that name.
        """
        if name not in self.experiments:
            raise UserError(f"there is no experiment {name!r} in the settings; {allowed(self.experiments)}")
        return self.experiments[name]


def default_path() -> str:
    """Return the settings file of a command that is told none: ONASPR_SETTINGS, or the one in this folder."""
    return os.environ.get("ONASPR_SETTINGS") or "settings.toml"


def load_settings(path: str | Path) -> Settings:
    """Read and check a settings file; relative paths in it start from its folder.

    Raises:
        UserError: one error that lists every mistake, each with its key and what is allowed.
    """
    file = Path(path)
    values = _read_toml(file)
    base = file.resolve().parent
    for name, experiment in tables(values, "experiments"):
        experiment["name"] = name
    mistakes = mistakes_in(values, base)
    try:
        settings = Settings.model_validate({**values, "base": base})
    except ValidationError as problem:
        mistakes = _field_mistakes(problem) + mistakes
    if mistakes:
        lines = "\n".join(f"  - {line}" for line in mistakes)
        raise UserError(f"settings file {file} has {len(mistakes)} mistake(s):\n{lines}")
    return settings


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        with file.open(encoding="utf-8") as opened:
            text = opened.read(LARGEST + 1)
        if len(text) > LARGEST or any(len(line) > LONGEST_LINE for line in text.splitlines()):
            raise ValueError(
                f"it has more than {LARGEST:,} characters, or a line of more than {LONGEST_LINE:,}"
            )
        return tomllib.loads(text)
    except OSError as problem:
        raise UserError(f"settings file {file} cannot be read: {problem.strerror or problem}") from problem
    except (ValueError, RecursionError) as problem:
        raise UserError(f"settings file {file} is not valid TOML: {problem}") from problem


def _field_mistakes(problem: ValidationError) -> list[str]:
    lines = []
    for error in problem.errors():
        key = ".".join(str(part) for part in error["loc"] if not str(part).startswith("["))
        if error["type"] == "extra_forbidden":
            lines.append(f"{key}: unknown key; remove it or correct its spelling")
        elif error["type"] == "string_pattern_mismatch":
            lines.append(f"{key}: {error['input']!r} is not a name; allowed: {NAME_RULE}")
        elif error["type"] == "missing":
            lines.append(f"{key}: missing")
        else:
            told = error["msg"].removeprefix("Value error, ")
            got = "" if isinstance(error["input"], dict) else f", got {error['input']!r}"
            lines.append(f"{key}: {told[0].lower()}{told[1:]}{got}")
    return list(dict.fromkeys(lines))
