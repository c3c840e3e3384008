"""T by PEFT and transformers' Trainer with the paper's arguments (section F.3), one sample a run.

Each sample gets a new Trainer, as in the recipe; the PEFT model stays, and its weights are reset in
memory. Nothing is saved or logged.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import transformers
from torch import Tensor
from transformers import PrinterCallback, TrainingArguments

from perf.references.resident import Adapted

Pair = tuple[list[int], list[int]]


class Tuner:
    """A trainer of the adapter of an `Adapted` model, in place."""

    name = ("PEFT + transformers Trainer", transformers.__version__)

    def __init__(self, adapted: Adapted, device: Any) -> None:
        self._adapted = adapted
        self._arguments = TrainingArguments(
            output_dir=tempfile.gettempdir(),
            per_device_train_batch_size=1,
            num_train_epochs=3,
            learning_rate=1e-4,
            lr_scheduler_type="cosine",
            warmup_steps=0.03,
            max_grad_norm=1.0,
            weight_decay=0.0,
            optim="adamw_torch_fused",
            train_sampling_strategy="sequential",
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            dataloader_pin_memory=False,
            use_cpu=device.type == "cpu",
        )

    def train(self, start: Mapping[str, Tensor], pairs: Sequence[Pair]) -> None:
        """Train from `start` weights on `pairs` of (prompt ids, target ids), end token included.

        Evaluation mode is restored, since the model answers next.
        """
        self._adapted.set(start)
        rows = [
            {"input_ids": prompt + target, "labels": [-100] * len(prompt) + target}
            for prompt, target in pairs
        ]
        trainer = transformers.Trainer(
            model=self._adapted.model, args=self._arguments, train_dataset=rows
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        self._adapted.model.eval()
