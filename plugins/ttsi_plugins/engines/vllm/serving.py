"""The vLLM server: its start, calls, failures and shutdown."""

from __future__ import annotations

import gc
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import vllm
from vllm.exceptions import VLLMError
from vllm.lora.request import LoRARequest
from vllm.platforms import current_platform
from vllm.v1.engine.exceptions import EngineDeadError

from ttsi import DeviceLost, EngineError, RunError
from ttsi_plugins.engines._messages import first_line

from . import adapters
from .watch import dismiss, watch

if TYPE_CHECKING:
    from . import VllmEngine

_DEATHS = 9
"""Deaths in a row that are allowed: enough to halve a wave of 256 down to one sample."""

Asked = tuple[list[int], vllm.SamplingParams]
"""The token ids of a prompt, and its sampling parameters."""


class Server:
    """vLLM with one model. It starts when made, and again in the call after its process died.

    `limit`: the most tokens of a prompt and its answer together.
    """

    def __init__(self, folder: Path, dtype: str, options: VllmEngine) -> None:
        self.folder = folder
        self.dtype = dtype
        self.options = options
        self._deaths = 0
        self._watcher: subprocess.Popen[bytes] | None = None
        self._llm: vllm.LLM | None = self._start()
        self.limit = int(self._llm.model_config.max_model_len)

    def run(
        self,
        asked: Sequence[Asked],
        loras: Sequence[LoRARequest | None],
        progress: Callable[[int, int], None],
    ) -> list[vllm.RequestOutput]:
        """Run all of `asked` together, each under its adapter; return the outputs in order."""
        made: dict[int, vllm.RequestOutput] = {}
        for group in _batches(loras):

            def finished(count: int, before: int = len(made)) -> None:
                progress(before + count, len(asked))

            outputs = self._call([asked[at] for at in group], [loras[at] for at in group], finished)
            self._deaths = 0
            made.update(zip(group, outputs, strict=True))
        return [made[at] for at in range(len(asked))]

    def _call(
        self,
        asked: Sequence[Asked],
        loras: Sequence[LoRARequest | None],
        finished: Callable[[int], None],
    ) -> list[vllm.RequestOutput]:
        """Call vLLM once; `finished` is called with the number of requests that are done so far."""
        llm = self._running()
        prompts = [vllm.TokensPrompt(prompt_token_ids=ids) for ids, _ in asked]
        numbers = llm.enqueue(
            prompts, [params for _, params in asked], lora_request=list(loras), use_tqdm=False
        )
        try:
            outputs = []
            while llm.llm_engine.has_unfinished_requests():
                done = [output for output in llm.llm_engine.step() if output.finished]
                outputs += done
                if done:
                    finished(len(outputs))
        except BaseException as error:
            # Otherwise the next call would get the outputs of this interrupted one.
            if not isinstance(error, EngineDeadError):
                llm.llm_engine.abort_request(numbers, internal=True)
            raise
        return sorted(outputs, key=lambda output: int(output.request_id))

    def add_adapter(self, adapter: LoRARequest) -> None:
        """Load `adapter` now, so that one that does not fit fails this call, not vLLM's process.

        Raises EngineError for an adapter that vLLM cannot load.
        """
        engine = self._running().llm_engine
        try:
            engine.add_lora(adapter)
        except EngineDeadError:
            raise
        except Exception as error:
            # What fails in vLLM's process arrives as a plain Exception with its message.
            raise EngineError(
                f"vLLM cannot load an adapter: {first_line(error)}",
                where="engine vllm",
                cure="Use a LoRA adapter that was trained on this model.",
            ) from error

    def remove_adapter(self, adapter: LoRARequest) -> None:
        if self._llm is not None:
            self._llm.llm_engine.remove_lora(adapter.lora_int_id)

    def held(self) -> set[int]:
        """Return the numbers of the adapters that vLLM holds."""
        return set(self._running().llm_engine.list_loras())

    def forget(self) -> None:
        """Drop cached prefixes."""
        if self._llm is not None:  # what is not running holds nothing
            with self.errors("dropping cached prefixes"):
                self._llm.llm_engine.reset_prefix_cache()

    def close(self) -> None:
        if self._llm is not None:
            llm, self._llm = self._llm, None
            llm.llm_engine.engine_core.shutdown()
            gc.collect()
        if self._watcher is not None:
            watcher, self._watcher = self._watcher, None
            dismiss(watcher)

    @contextmanager
    def errors(self, doing: str) -> Iterator[None]:
        """Raise vLLM's failures as ttsi's errors.

        After its process died the next call starts another. After more than _DEATHS deaths in a row
        no smaller wave can help, and DeviceLost is raised.
        """
        try:
            yield
        except EngineDeadError as error:
            self.close()
            self._deaths += 1
            kind = DeviceLost if self._deaths > _DEATHS else EngineError
            raise kind(
                f"vLLM's process died while {doing}, {self._deaths} times in a row.",
                where="engine vllm; its own messages are above",
                cure='Lower "max_batch" or "max_loras" of the engine, or the executor\'s wave.',
            ) from error
        except (ValueError, RuntimeError, VLLMError) as error:
            raise EngineError(
                f"vLLM failed while {doing}: {first_line(error)}",
                where="engine vllm",
                cure='Try the engine "transformers".',
            ) from error

    def _running(self) -> vllm.LLM:
        if self._llm is None:
            self._llm = self._start()
        return self._llm

    def _start(self) -> vllm.LLM:
        options = self.options
        try:
            llm = vllm.LLM(
                model=str(self.folder),
                dtype=self.dtype,
                gpu_memory_utilization=options.gpu_memory_utilization,
                max_num_seqs=options.max_batch,
                max_model_len=options.max_model_len,
                enforce_eager=options.eager,
                enable_prefix_caching=True,
                enable_lora=True,
                max_loras=options.max_loras,
                max_lora_rank=options.max_lora_rank,
                lora_target_modules=adapters.layers(self.folder),
                logprobs_mode="raw_logprobs",
                # Sampling is the request's own, whatever the model's files propose.
                generation_config="vllm",
                structured_outputs_config={"backend": "xgrammar"},
                trust_remote_code=False,
            )
        except (ValueError, RuntimeError, VLLMError) as error:
            raise RunError(
                f"vLLM does not start: {first_line(error)}",
                where=f"engine vllm, {self.folder}; its own messages are above",
                cure='Try another "gpu_memory_utilization", a smaller "max_model_len", or the '
                'engine "transformers".',
            ) from error
        processes = llm.llm_engine.engine_core.resources.engine_manager.processes
        self._watcher = watch([each.pid for each in processes], adapters.places())
        return llm


def _batches(loras: Sequence[LoRARequest | None]) -> list[list[int]]:
    """Return which requests, by their index in `loras`, vLLM may batch: all of them on a GPU.

    On a CPU vLLM 0.32 runs a request without an adapter under the adapter of another request in the
    batch (vllm-project/vllm#48421), and caches the result.
    """
    places = list(range(len(loras)))
    if device() == "cuda":
        return [places] if places else []
    base = [at for at in places if loras[at] is None]
    adapted = [at for at in places if loras[at] is not None]
    return [part for part in (base, adapted) if part]


def device() -> Literal["cpu", "cuda"]:
    """Return the device that the installed vLLM is built for. Raises RunError if there is none."""
    kind = current_platform.device_type
    if kind == "cpu" or kind == "cuda":
        return kind
    raise RunError(
        "vLLM finds no GPU that it can use.",
        where="engine vllm",
        cure="Install its build for a CPU (docs/gpu.md), or use the engine transformers.",
    )


def version() -> str:
    return vllm.__version__
