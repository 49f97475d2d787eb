"""Faults: known mistakes in a split model's gradients. A new one is a class in a file here and an entry in `FAULTS`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.faults.accumulation.microbatch_weights import (
    AveragedTwice,
    EachByItsOwn,
    LastLeftOut,
    OnlyOneKept,
    RaggedLast,
    Summed,
)
from gradcheck.faults.boundary.boundary_detached import BoundaryDetached
from gradcheck.faults.boundary.cotangent_dropped import CotangentDropped
from gradcheck.faults.boundary.cotangent_factor import CotangentFactor
from gradcheck.faults.boundary.cotangent_missing import CotangentMissing
from gradcheck.faults.boundary.cotangent_reduced import CotangentReduced
from gradcheck.faults.boundary.cotangents_swapped import CotangentsSwapped
from gradcheck.faults.boundary.lower_precision import LowerPrecision
from gradcheck.faults.boundary.mask_lost import MaskLost
from gradcheck.faults.boundary.microbatches_exchanged import MicroBatchesExchanged
from gradcheck.faults.boundary.rows_reordered import RowsReordered
from gradcheck.faults.boundary.targets_misaligned import TargetsMisaligned
from gradcheck.faults.boundary.training_flag_lost import TrainingFlagLost
from gradcheck.faults.custom.examples_apart import ExamplesApart
from gradcheck.faults.custom.left_out import LeftOut
from gradcheck.faults.custom.traced_once import TracedOnce
from gradcheck.faults.losses.added_losses import AddedLossDropped, AddedLossRepeated
from gradcheck.faults.losses.factors import LossScaleLeft, SignFlipped
from gradcheck.faults.losses.forgotten import MaskForgotten, WeightsForgotten
from gradcheck.faults.losses.terms import TermWeighed
from gradcheck.faults.state.batch_statistics import BatchStatistics
from gradcheck.faults.state.recomputation import DropoutDrawnAfresh, RecomputationDiffers, StateUpdatedTwice
from gradcheck.faults.state.state_detached import StateDetached
from gradcheck.faults.tensors.no_gradient import NoGradient
from gradcheck.faults.tensors.sparse_duplicates import SparseDuplicates
from gradcheck.faults.tensors.tied_weight import TiedWeight
from gradcheck.faults.tensors.transposed import Transposed
from gradcheck.faults.tensors.wrong_order import WrongOrder

if TYPE_CHECKING:
    from gradcheck.faults.interface import Fault

#: Every fault that can be injected. Of several that give the same gradients the earlier one is named first.
FAULTS: tuple[Fault, ...] = (
    StateDetached(),  # before TiedWeight, CotangentDropped and BoundaryDetached: chunks share their weights
    TiedWeight(),  # before what else leaves a shared weight's earlier use without a gradient
    CotangentDropped(),  # before BoundaryDetached: one tensor of several
    BoundaryDetached(),  # before NoGradient, which says nothing of the cause
    CotangentMissing(),
    CotangentsSwapped(),
    CotangentReduced(),
    MicroBatchesExchanged(),  # before RowsReordered: a micro-batch may be one row
    RowsReordered(),
    LowerPrecision(),
    MaskLost(),
    TrainingFlagLost(),
    TargetsMisaligned(),
    Summed(),  # before LossScaleLeft: the number of micro-batches may be a power of two
    AveragedTwice(),
    EachByItsOwn(),  # before RaggedLast: the cause beside the same weights
    RaggedLast(),
    OnlyOneKept(),
    LastLeftOut(),
    BatchStatistics(),
    StateUpdatedTwice(),
    DropoutDrawnAfresh(),  # before RecomputationDiffers, which is more general
    RecomputationDiffers(),
    SparseDuplicates(),
    Transposed(),
    WrongOrder(),
    NoGradient(),
    AddedLossDropped(),
    AddedLossRepeated(),
    WeightsForgotten(),
    MaskForgotten(),
    TracedOnce(),
    ExamplesApart(),
    TermWeighed(),
    LeftOut(),  # before SignFlipped: a gradient reversal that is left out turns a cotangent around
    SignFlipped(),
    LossScaleLeft(),
    CotangentFactor(),
)
