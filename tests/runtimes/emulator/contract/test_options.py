"""The contract on options: setters chain and take their argument by name, no options reach others, copies are free."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.runtimes.emulator.contract.models import options


def test_setters_chain_and_take_their_argument_by_name(poptorch: ModuleType) -> None:
    wanted = options(poptorch).deviceIterations(device_iterations=3).replicationFactor(2).autoRoundNumIPUs()
    assert (wanted.device_iterations, wanted.replication_factor, wanted.auto_round_num_ipus) == (3, 2, True)
    assert wanted.Training.gradientAccumulation(gradient_accumulation=5) is wanted.Training
    assert wanted.Training.gradient_accumulation == 5
    assert wanted.connectionType(poptorch.ConnectionType.OnDemand).connection_type == 1
    with pytest.raises(TypeError):
        wanted.deviceIterations(2, 3)


def test_no_setting_reaches_another_s_options(poptorch: ModuleType) -> None:
    first = options(poptorch)
    first.anchorTensor("scale", "finalLossScale")
    first.appendToLocationExcludes("somewhere")
    first.Distributed.configureProcessId(process_id=1, num_processes=2)
    first._Popart.set("autoRecomputation", 3)
    second = options(poptorch)
    assert (second.anchored_tensors, second.Distributed.numProcesses) == ({}, 1)
    assert "autoRecomputation" not in second._Popart.options


def test_an_unknown_option_is_refused(poptorch: ModuleType) -> None:
    with pytest.raises(AssertionError):
        options(poptorch).set(no_such_option=1)
    with pytest.raises((AssertionError, AttributeError)):
        options(poptorch).no_such_option = 1
    with pytest.raises(AttributeError):
        _ = options(poptorch).no_such_option


def test_where_tensors_live_is_told_by_kind(poptorch: ModuleType) -> None:
    place = poptorch.TensorLocationSettings().useOnChipStorage(False).useReplicatedTensorSharding()
    wanted = options(poptorch)
    wanted.TensorLocations.setOptimizerLocation(place)
    assert wanted.TensorLocations.location_optimizer == {"onChip": 0, "useReplicatedTensorSharding": 1}
    assert place.useOnChipStorage(None).toDict() == {"useReplicatedTensorSharding": 1}
    with pytest.raises(AssertionError):
        place.useIOTilesToLoad("yes")


def test_groups_are_frozen_with_the_options_and_free_in_a_copy(poptorch: ModuleType) -> None:
    wanted = options(poptorch)
    poptorch.inferenceModel(lambda x: x, wanted)
    for change in (
        lambda them: them.Training.gradientAccumulation(2),
        lambda them: them._Popart.set("autoRecomputation", 1),
        lambda them: them.Precision.enableStochasticRounding(True),
        lambda them: them.Distributed.disable(),
    ):
        with pytest.raises(AttributeError, match="frozen"):
            change(wanted)
        change(wanted.clone())


def test_replicas_share_input_in_groups_that_divide_them(poptorch: ModuleType) -> None:
    wanted = options(poptorch).replicationFactor(4)
    with pytest.raises(ValueError, match="input"):
        wanted.inputReplicaGrouping(3, poptorch.CommGroupType.Consecutive)
    with pytest.raises(ValueError, match="input"):
        wanted.inputReplicaGrouping(2, poptorch.CommGroupType.All)
    assert wanted.inputReplicaGrouping(2, poptorch.CommGroupType.Orthogonal).input_group_size == 2
    assert wanted.inputReplicaGrouping(4, poptorch.CommGroupType.NoGrouping).input_group_size == 1


def test_every_nth_output_needs_its_n(poptorch: ModuleType) -> None:
    wanted = options(poptorch)
    with pytest.raises(AssertionError):
        wanted.outputMode(poptorch.OutputMode.EveryN)
    assert wanted.outputMode(poptorch.OutputMode.EveryN, 4).output_return_period == 4
