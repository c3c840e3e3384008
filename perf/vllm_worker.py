"""The worker of `perf.vllm`, run by an interpreter that has vLLM and nothing of ttsi."""

from __future__ import annotations

import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

# vLLM writes to standard output, which is for answers alone.
_OUT = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def main() -> None:
    import torch
    import vllm
    from vllm.lora.request import LoRARequest
    from vllm.sampling_params import StructuredOutputsParams

    job = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(job["threads"])
    adapters = job["adapters"]
    lora = {
        "enable_lora": True,
        "max_loras": len(adapters),
        "max_lora_rank": job["rank"],
    }
    model = vllm.LLM(
        model=job["folder"],
        dtype=job["dtype"],
        max_num_seqs=len(job["prompts"]),
        max_model_len=max(map(len, job["prompts"])) + job["tokens"] + 1,
        gpu_memory_utilization=0.25,
        enable_prefix_caching=True,
        generation_config="vllm",
        structured_outputs_config={"backend": "xgrammar"},
        **(lora if adapters else {}),
    )
    prompts = [vllm.TokensPrompt(prompt_token_ids=ids) for ids in job["prompts"]]
    params = [
        vllm.SamplingParams(
            temperature=0.0,
            max_tokens=job["tokens"],
            stop_token_ids=job["ends"],
            logit_bias=dict.fromkeys(job["barred"], -1e9),
            structured_outputs=StructuredOutputsParams(grammar=grammar),
        )
        for grammar in job["grammars"]
    ]
    _answer({"version": vllm.__version__})
    numbers = itertools.count(1)
    for _ in sys.stdin:
        # Under a new number an adapter is read anew, and so is its prompt.
        under = [LoRARequest(place, next(numbers), place) for place in adapters]
        found = model.generate(prompts, params, use_tqdm=False, lora_request=under or None)
        _answer([_told(made) for made in found])


def _told(made: Any) -> dict[str, Any]:
    (text,) = made.outputs
    return {"text": text.text, "tokens": len(text.token_ids), "finish": text.finish_reason}


def _answer(value: Any) -> None:
    print(json.dumps(value), file=_OUT, flush=True)


if __name__ == "__main__":
    main()
