"""The six stages, in the order of a run."""

from __future__ import annotations

from podsquad.config.section import StageName
from podsquad.stages import builders
from podsquad.stages.stage import Stage

STAGES: dict[StageName, Stage] = {
    stage.name: stage
    for stage in (
        Stage(
            name="download",
            artifact="dataset",
            format_version=1,
            inputs=(),
            modules=("podsquad.data.dataset",),
            libraries=("datasets", "pyarrow"),
            build=builders.build_download,
        ),
        Stage(
            name="tokenize",
            artifact="features",
            format_version=1,
            inputs=("download",),
            modules=("podsquad.data.features",),
            libraries=("tokenizers", "transformers", "pyarrow", "numpy"),
            build=builders.build_tokenize,
        ),
        Stage(
            name="compile",
            artifact="executable",
            format_version=1,
            inputs=("tokenize",),
            modules=(),
            libraries=(),
            build=builders.build_compile,
            verb="compile",
        ),
        Stage(
            name="train",
            artifact="model",
            format_version=1,
            inputs=("tokenize", "compile"),
            modules=(),
            libraries=(),
            build=builders.build_train,
            verb="train",
        ),
        Stage(
            name="evaluate",
            artifact="evaluation",
            format_version=1,
            inputs=("download", "tokenize", "train"),
            modules=("podsquad.evaluation.report",),
            libraries=("numpy", "pyarrow", "matplotlib"),
            build=builders.build_evaluate,
            verb="predict",
        ),
        Stage(
            name="publish",
            artifact="publication",
            format_version=2,
            inputs=("download", "tokenize", "compile", "train", "evaluate"),
            modules=(
                "podsquad.publishing.publish",
                "podsquad.publishing.places",
                "podsquad.publishing.smoke",
                "podsquad.publishing.decide",
                "podsquad.publishing.rescore",
                "podsquad.publishing.verdicts",
            ),
            libraries=("numpy", "huggingface_hub"),
            build=builders.build_publish,
            why_stale=builders.why_publication_is_stale,
        ),
    )
}
