"""Plan for one person: her sheet is read at one position, and the planning engine answers from it; and what others have."""

from ledger.database import Database
from ledger.planning import personal
from ledger.planning.basis import Words, words
from ledger.planning.catalogue import Catalogue
from ledger.planning.explaining import CasesResult, explain
from ledger.planning.personal import (
    AllocationAnswer,
    AllocationQuestion,
    PlanAnswer,
    PlanQuestion,
    WhatIfAnswer,
    WhatIfQuestion,
)
from ledger.projections.balance_sheet import read_balance_sheet
from ledger.projections.cases import CaseAnswer, CaseFigure, find_cell

AMOUNT = "_fen"
HALF_OF_100 = 50


class CaseReading(CaseAnswer):
    """And in words, for each figure that is an amount."""

    words: list[Words]


def plan(database: Database, person: str, question: PlanQuestion, *, known_at: int | None = None) -> PlanAnswer:
    """What she will live on. Raises what reading the sheet raises, RuleRefused and AnswerRefused."""
    read = read_balance_sheet(database, person, known_at=known_at)
    return personal.plan_answer(read.sheet, read.known_at, question)


def what_if(database: Database, person: str, question: WhatIfQuestion, *, known_at: int | None = None) -> WhatIfAnswer:
    """Up to four lives side by side. Raises as `plan`, and ScenariosRefused."""
    read = read_balance_sheet(database, person, known_at=known_at)
    return personal.what_if_answer(read.sheet, read.known_at, question)


def allocate(
    database: Database,
    person: str,
    question: AllocationQuestion,
    *,
    known_at: int | None = None,
    catalogue: Catalogue | None = None,
) -> AllocationAnswer:
    """Where this year's saving goes, over a catalogue or the sample one. Raises as `plan`."""
    read = read_balance_sheet(database, person, known_at=known_at)
    return personal.allocation_answer(read.sheet, read.known_at, question, catalogue)


def others(database: Database, *, city: str, birth_year: int, income: str, employment: str) -> CaseReading:
    """What others like her have, in the last edition of the case library. Raises CaseQuestionWrong."""
    found = find_cell(database, city=city, birth_year=birth_year, income=income, employment=employment)
    if found.cell is None:
        said = [CasesResult(people_count=0)]
    else:
        amounts = [figure for figure in found.cell.figures if figure.measure.endswith(AMOUNT)]
        said = [_told(figure, found.cell.people_at_least) for figure in amounts]
    return CaseReading(**dict(found), words=[words(explain(each)) for each in said])


def _told(figure: CaseFigure, people: int) -> CasesResult:
    return CasesResult(
        people_count=people,
        what_name=figure.measure.removesuffix(AMOUNT),
        middle_of_100=HALF_OF_100,
        low_fen=figure.quarter,
        high_fen=figure.three_quarters,
    )
