#!/bin/bash
# Ray on the machines of an allocation, and one `dagster asset materialize` on the first of them. From the
# repository's root, which all machines see under one path:
#   sbatch examples/deploy/slurm.sh --select '+ona_videos' --partition mine
#SBATCH --job-name=onaspr
#SBATCH --dependency=singleton
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --cpus-per-task=64
#SBATCH --gpus-per-node=8
#SBATCH --mem=0
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --output=onaspr-%j.log
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?submit this with sbatch}"

export DAGSTER_HOME="${DAGSTER_HOME:-$PWD/.dagster}" PATH="$PWD/.venv/bin:$PATH" PYTHONWARNINGS=ignore
export ONASPR_SETTINGS="${ONASPR_SETTINGS:-$PWD/settings.toml}"
mkdir -p "$DAGSTER_HOME"
cp -n dagster.yaml "$DAGSTER_HOME/dagster.yaml" || true
python -c 'import sys
from pathlib import Path
from onaspr_core.settings import load_settings
sys.exit(load_settings(Path(sys.argv[1])).compute.engine != "ray")' "$ONASPR_SETTINGS" ||
    { echo "$ONASPR_SETTINGS: set compute.engine = \"ray\", or one GPU works and the others wait"; exit 1; }

# Whoever has the token may run code on these machines as you. It is this job's alone.
RAY_AUTH_TOKEN="$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')"
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token

mapfile -t machines < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
first="${machines[0]}"
others=$((${#machines[@]} - 1))
on_first=(srun --nodes=1 --ntasks=1 --nodelist="$first")
ip="$("${on_first[@]}" hostname --ip-address)"
ip="${ip%% *}"
port="${ONASPR_RAY_PORT:-6379}"
export RAY_ADDRESS="$ip:$port"
folder="/tmp/ray-$SLURM_JOB_ID"
# Ports are the system's choice where Ray does not have to know them.
same=(--num-cpus="$SLURM_CPUS_PER_TASK" --min-worker-port=0 --max-worker-port=0 --dashboard-agent-listen-port=0
    --disable-usage-stats --block)

driver=""
finish() {
    trap - EXIT TERM
    # Dagster is told first: what was made is kept, and the run is marked as ended.
    if [ -n "$driver" ]; then kill -TERM "$driver" 2>/dev/null && wait "$driver" || true; fi
    local steps
    steps="$(jobs -pr)"
    if [ -n "$steps" ]; then kill -TERM $steps 2>/dev/null || true; fi
    wait || true
    srun --nodes="${#machines[@]}" --ntasks="${#machines[@]}" rm -rf "$folder" || true
}
trap finish EXIT
trap 'exit 143' TERM

"${on_first[@]}" --cpus-per-task="$SLURM_CPUS_PER_TASK" ray start --head --node-ip-address="$ip" \
    --port="$port" --ray-client-server-port="$((port + 1))" --include-dashboard=false \
    --temp-dir="$folder" "${same[@]}" &
head=$!
until ray health-check --address "$RAY_ADDRESS" >/dev/null 2>&1; do
    kill -0 "$head" 2>/dev/null || { echo "Ray did not start on $first"; exit 1; }
    sleep 1
done
# Machines that come late are used from then on; nobody waits for them.
if ((others)); then
    srun --nodes="$others" --ntasks="$others" --exclude="$first" --cpus-per-task="$SLURM_CPUS_PER_TASK" \
        ray start --address="$RAY_ADDRESS" "${same[@]}" &
fi

dagster job execute -f definitions.py -j observe_settings -c console.yaml
dagster asset materialize -f definitions.py -c console.yaml "$@" &
driver=$!
wait "$driver"
