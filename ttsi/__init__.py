"""ttsi: test-time self-improvement of LLM agents, as a plugin framework.

    import ttsi
    cells = ttsi.evaluate("specs/quickstart.json", overrides={"benchmark.limit": 8})
    print(cells[0].accuracy)

The names in this module are the public API: a plugin or a notebook imports everything from `ttsi`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ttsi._common.version import __version__ as __version__

if TYPE_CHECKING:
    from ttsi.answers import form_named as form_named
    from ttsi.answers import form_of as form_of
    from ttsi.answers.calls import Switches as Switches
    from ttsi.answers.calls.match import score_calls as score_calls
    from ttsi.answers.calls.parse import parse_calls as parse_calls
    from ttsi.answers.calls.validation import argument_faults as argument_faults
    from ttsi.answers.calls.values import AnyOf as AnyOf
    from ttsi.answers.calls.values import Reason as Reason
    from ttsi.answers.calls.values import ToolCall as ToolCall
    from ttsi.answers.calls.values import answer_with as answer_with
    from ttsi.answers.calls.values import calls_in as calls_in
    from ttsi.answers.completions import read_completion as read_completion
    from ttsi.answers.form import Form as Form
    from ttsi.answers.objects import behind_thoughts as behind_thoughts
    from ttsi.answers.objects import find_object as find_object
    from ttsi.assets import Asset as Asset
    from ttsi.assets import data_file as data_file
    from ttsi.digests import bytes_digest as bytes_digest
    from ttsi.digests import draw_seed as draw_seed
    from ttsi.digests import file_digest as file_digest
    from ttsi.digests import json_digest as json_digest
    from ttsi.errors import CorruptAsset as CorruptAsset
    from ttsi.errors import DeviceLost as DeviceLost
    from ttsi.errors import EngineError as EngineError
    from ttsi.errors import LimitReached as LimitReached
    from ttsi.errors import MissingAsset as MissingAsset
    from ttsi.errors import OutOfMemory as OutOfMemory
    from ttsi.errors import PluginError as PluginError
    from ttsi.errors import Problem as Problem
    from ttsi.errors import RunError as RunError
    from ttsi.errors import SpecError as SpecError
    from ttsi.errors import StorageError as StorageError
    from ttsi.errors import TtsiError as TtsiError
    from ttsi.errors import Unanswerable as Unanswerable
    from ttsi.errors import UsageError as UsageError
    from ttsi.errors import VerificationError as VerificationError
    from ttsi.hooks import hookimpl as hookimpl
    from ttsi.optional import AnswersTasks as AnswersTasks
    from ttsi.optional import Gates as Gates
    from ttsi.optional import HasTemplate as HasTemplate
    from ttsi.optional import HasTrainingRows as HasTrainingRows
    from ttsi.optional import LearnsFromRows as LearnsFromRows
    from ttsi.optional import Leaves as Leaves
    from ttsi.optional import Renders as Renders
    from ttsi.optional import Rivals as Rivals
    from ttsi.optional import TellsTexts as TellsTexts
    from ttsi.optional import TellsTurns as TellsTurns
    from ttsi.optional import Verdict as Verdict
    from ttsi.optional import Versioned as Versioned
    from ttsi.optional import WritesCalls as WritesCalls
    from ttsi.optional import written_calls as written_calls
    from ttsi.options import option as option
    from ttsi.protocols import AnswerForm as AnswerForm
    from ttsi.protocols import Asking as Asking
    from ttsi.protocols import Benchmark as Benchmark
    from ttsi.protocols import Candidates as Candidates
    from ttsi.protocols import Claim as Claim
    from ttsi.protocols import Context as Context
    from ttsi.protocols import Engine as Engine
    from ttsi.protocols import Episode as Episode
    from ttsi.protocols import Estimator as Estimator
    from ttsi.protocols import Executor as Executor
    from ttsi.protocols import Generator as Generator
    from ttsi.protocols import Inference as Inference
    from ttsi.protocols import Learner as Learner
    from ttsi.protocols import RunnerFactory as RunnerFactory
    from ttsi.protocols import Scorer as Scorer
    from ttsi.protocols import Session as Session
    from ttsi.protocols import Watcher as Watcher
    from ttsi.protocols import WaveRunner as WaveRunner
    from ttsi.records.identity import ENGINE_IDENTITY as ENGINE_IDENTITY
    from ttsi.running.cell_result import CellResult as CellResult
    from ttsi.running.evaluate import evaluate as evaluate
    from ttsi.settings import Asked as Asked
    from ttsi.settings import EngineCapability as EngineCapability
    from ttsi.settings import LoraRecipe as LoraRecipe
    from ttsi.settings import Sampling as Sampling
    from ttsi.solving.metering import asked_outside as asked_outside
    from ttsi.solving.metering import charge as charge
    from ttsi.solving.rejecting import reject as reject
    from ttsi.solving.solution import Solution as Solution
    from ttsi.solving.solver import Solver as Solver
    from ttsi.spec import Spec as Spec
    from ttsi.spec import load_spec as load_spec
    from ttsi.types import DECLINED as DECLINED
    from ttsi.types import ENGINE_ERROR as ENGINE_ERROR
    from ttsi.types import JSON as JSON
    from ttsi.types import UNPARSABLE as UNPARSABLE
    from ttsi.types import Adaptation as Adaptation
    from ttsi.types import Adapter as Adapter
    from ttsi.types import Answer as Answer
    from ttsi.types import AnswerStatus as AnswerStatus
    from ttsi.types import Completion as Completion
    from ttsi.types import Demonstrations as Demonstrations
    from ttsi.types import Estimate as Estimate
    from ttsi.types import Example as Example
    from ttsi.types import Generation as Generation
    from ttsi.types import Likelihood as Likelihood
    from ttsi.types import Message as Message
    from ttsi.types import Played as Played
    from ttsi.types import Prompt as Prompt
    from ttsi.types import Record as Record
    from ttsi.types import Rejected as Rejected
    from ttsi.types import Rejections as Rejections
    from ttsi.types import Rendered as Rendered
    from ttsi.types import Request as Request
    from ttsi.types import Sample as Sample
    from ttsi.types import Score as Score
    from ttsi.types import StageCost as StageCost
    from ttsi.types import Step as Step
    from ttsi.types import Task as Task
    from ttsi.types import Token as Token
    from ttsi.types import Tool as Tool
    from ttsi.types import Training as Training
    from ttsi.types import TrainJob as TrainJob

_NAMES = {
    "ttsi.answers": "form_named form_of",
    "ttsi.answers.calls": "Switches",
    "ttsi.answers.calls.match": "score_calls",
    "ttsi.answers.calls.parse": "parse_calls",
    "ttsi.answers.calls.validation": "argument_faults",
    "ttsi.answers.calls.values": "AnyOf Reason ToolCall answer_with calls_in",
    "ttsi.answers.completions": "read_completion",
    "ttsi.answers.form": "Form",
    "ttsi.answers.objects": "behind_thoughts find_object",
    "ttsi.assets": "Asset data_file",
    "ttsi.digests": "bytes_digest draw_seed file_digest json_digest",
    "ttsi.errors": (
        "CorruptAsset DeviceLost EngineError LimitReached MissingAsset OutOfMemory PluginError "
        "Problem RunError SpecError StorageError TtsiError Unanswerable UsageError "
        "VerificationError"
    ),
    "ttsi.hooks": "hookimpl",
    "ttsi.optional": (
        "AnswersTasks Gates HasTemplate HasTrainingRows LearnsFromRows Leaves Renders Rivals "
        "TellsTexts TellsTurns Verdict Versioned WritesCalls written_calls"
    ),
    "ttsi.options": "option",
    "ttsi.protocols": (
        "AnswerForm Asking Benchmark Candidates Claim Context Engine Episode Estimator "
        "Executor Generator Inference Learner RunnerFactory Scorer Session Watcher WaveRunner"
    ),
    "ttsi.records.identity": "ENGINE_IDENTITY",
    "ttsi.running.cell_result": "CellResult",
    "ttsi.running.evaluate": "evaluate",
    "ttsi.settings": "Asked EngineCapability LoraRecipe Sampling",
    "ttsi.solving.metering": "asked_outside charge",
    "ttsi.solving.rejecting": "reject",
    "ttsi.solving.solution": "Solution",
    "ttsi.solving.solver": "Solver",
    "ttsi.spec": "Spec load_spec",
    "ttsi.types": (
        "Adaptation Adapter Answer AnswerStatus Completion DECLINED "
        "Demonstrations ENGINE_ERROR Estimate Example Generation JSON Likelihood Message "
        "Played Prompt Record Rejected Rejections Rendered Request Sample Score StageCost Step "
        "Task Token Tool TrainJob Training UNPARSABLE"
    ),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import ttsi` stays fast."""
    if name not in _HOME:
        raise AttributeError(f"module 'ttsi' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
