"""Dates of the pension calendar: Beijing days, and periods written YYYY-MM."""

from datetime import date, datetime, timedelta, timezone
from typing import Annotated

from pydantic import StringConstraints

BEIJING = timezone(timedelta(hours=8), "Asia/Shanghai")

PERIOD_CHARACTERS = len("2026-01")
MONTHS_OF_YEAR = 12
Period = Annotated[str, StringConstraints(pattern=r"^(19|20)[0-9]{2}-(0[1-9]|1[0-2])$")]


def beijing_date(moment: datetime) -> date:
    """The calendar day in China at this moment (one time zone, UTC+8, no summer time since 1991)."""
    return moment.astimezone(BEIJING).date()


def period_of(day: date) -> str:
    """The period that a day lies in."""
    return day.isoformat()[:PERIOD_CHARACTERS]


def month_number(period: str) -> int:
    """The number of the month YYYY-MM: the next month has the next number."""
    return int(period[:4]) * MONTHS_OF_YEAR + int(period[5:7]) - 1


def period_of_number(number: int) -> str:
    """The period of a month's number."""
    return f"{number // MONTHS_OF_YEAR:04d}-{number % MONTHS_OF_YEAR + 1:02d}"


def last_day(period: str) -> date:
    """The day with which a period ends."""
    year, month = int(period[:4]), int(period[5:])
    return date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
