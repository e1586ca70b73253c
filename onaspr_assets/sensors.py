"""What looks by itself: the settings sensor, and the sensor that evaluates the automation condition.

Neither makes anything. The first says what moved, the second asks for what that concerns.
"""

import time

import dagster as dg

from onaspr_assets.params import look
from onaspr_assets.partitions import experiments
from onaspr_assets.resources import WorkspaceResource

SECONDS_BETWEEN_LOOKS = 15
SECONDS_BETWEEN_EVALUATIONS = 10
SECONDS_OF_REST = 1.0
"""What moved is looked at again after so long: a file that is being written would be another one by then."""


@dg.sensor(
    minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Reads settings.toml and the files it names, and observes what moved. Launches no run.",
)
def settings_sensor(
    context: dg.SensorEvaluationContext, workspace: WorkspaceResource
) -> dg.SensorResult | dg.SkipReason:
    """Report what moved; a file with mistakes fails the tick, with all of them, and changes nothing.

    What moves while it is looked at is left to the next tick.
    """
    found = look(context.instance, workspace.settings())
    if not found:
        return dg.SkipReason(f"{found.settings} settings read, none moved")
    time.sleep(SECONDS_OF_REST)
    if look(context.instance, workspace.settings()) != found:
        return dg.SkipReason("the settings, or a file that they name, are being written; looking again later")
    requests: list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest] = []
    if found.new:
        requests.append(experiments.build_add_request(found.new))
    if found.gone:
        requests.append(experiments.build_delete_request(found.gone))
    return dg.SensorResult(asset_events=found.moved, dynamic_partitions_requests=requests)


def automation_sensor() -> dg.AutomationConditionSensorDefinition:
    """Return the sensor that evaluates the condition of every asset."""
    return dg.AutomationConditionSensorDefinition(
        "recompute_what_changed",
        target=dg.AssetSelection.all(),
        minimum_interval_seconds=SECONDS_BETWEEN_EVALUATIONS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        # Where two experiments need one asset Dagster would make a backfill, which starts up to half a minute
        # later, in runs of its own that load the models again.
        emit_backfills=False,
        description="Asks for every asset that has a reason to be made again, once all upstream rests.",
    )
