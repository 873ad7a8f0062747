"""Campaigns, previews and results as they are shown."""

from collections.abc import Iterator, Sequence
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncSession

from app.people.local_time import zone_of
from app.recommend import campaign_audience, campaigns
from app.recommend.campaign_copy import check_copy
from app.recommend.campaign_facts import Facts, facts_of
from app.recommend.campaign_preview import Preview
from app.recommend.campaign_results import FIGURES, Arm, Results
from app.recommend.campaign_schemas import (
    ArmOut,
    CampaignBrief,
    CampaignOut,
    CopyProblemOut,
    CopyTexts,
    LiftOut,
    OverlapOut,
    PreviewOut,
    RateOut,
    ResultsOut,
    VariantOut,
)
from app.recommend.campaign_statistics import CONFIDENCE, Lift, Rate
from app.recommend.campaign_tables import CAMPAIGN_MOVES, Campaign, CampaignVariant
from app.recommend.errors import ItemNotFound

METHOD = (
    "Share of residents; households assigned as a whole, variance by household (Kish), Wilson's interval with the "
    "effective size, Newcombe's for the difference. Neighbours who talk make the lift smaller than it is."
)


async def show(session: AsyncSession, campaign: Campaign) -> CampaignOut:
    """One campaign with its words and what stands against each of them."""
    variants = (await campaigns.variants_of(session, [campaign.id]))[campaign.id]
    zone = await zone_of(session, campaign.community_id)
    try:
        items = await campaign_audience.get_items(session, campaign.community_id, campaign.item_ids)
        facts = await campaigns.facts_of(session, campaign.community_id, items)
    except ItemNotFound:
        # It was taken away since: no fact stands any more.
        facts = facts_of((), zone=zone, phone="")
    return CampaignOut(
        **CampaignBrief.model_validate(campaign).model_dump(),
        filter=campaign.filter, attribution_days=campaign.attribution_days, cap_messages=campaign.cap_messages,
        cap_days=campaign.cap_days, send_at_local=_local(campaign, zone),
        allowed=sorted(CAMPAIGN_MOVES[campaign.status]), variants=[_variant(one, facts) for one in variants],
    )  # fmt: skip


def _local(campaign: Campaign, zone: ZoneInfo) -> str | None:
    return f"{campaign.send_at.astimezone(zone):%Y-%m-%dT%H:%M}" if campaign.send_at else None


def _variant(variant: CampaignVariant, facts: Facts) -> VariantOut:
    problems = check_copy(variant.texts, facts.sources, costs=facts.costs)
    return VariantOut(
        label=variant.label, share=variant.share, texts=CopyTexts(**{**campaigns.blank_texts(), **variant.texts}),
        worded_by=variant.worded_by, approved_at=variant.approved_at,
        problems=[
            CopyProblemOut(field=one.field, code=one.code, said=one.said, zh=one.zh, en=one.en) for one in problems
        ],
    )  # fmt: skip


def show_preview(found: Preview) -> PreviewOut:
    return PreviewOut(
        nobody=found.nobody, recipients=found.recipients, households=found.households, left_out=found.left_out,
        leaves_at=found.leaves_at, quiet=found.quiet, households_min=found.households_min,
        overlaps=[
            OverlapOut(
                campaign_id=one.campaign_id, name=one.name, status=one.status, at=one.at, residents=one.residents
            )
            for one in found.overlaps
        ],
    )  # fmt: skip


def show_results(campaign: Campaign, found: Results) -> ResultsOut:
    return ResultsOut(
        campaign_id=campaign.id, goal=campaign.goal, confidence=CONFIDENCE, method=METHOD,
        arms=[_arm(arm) for arm in found.arms], left_out=found.left_out, attributed_until=found.attributed_until,
        complete=found.complete, households_min=found.households_min,
    )  # fmt: skip


def _arm(arm: Arm) -> ArmOut:
    return ArmOut(
        arm=arm.label, hidden=arm.hidden, households=arm.households, residents=arm.residents, sent=arm.sent,
        **arm.counts, rate=_rate(arm.rate) if arm.rate else None, lift=_lift(arm.lift) if arm.lift else None,
    )  # fmt: skip


def _rate(rate: Rate) -> RateOut:
    interval = rate.interval
    return RateOut(share=_rounded(rate.share), low=_rounded(interval.low), high=_rounded(interval.high))


def _lift(lift: Lift) -> LiftOut:
    return LiftOut(
        difference=_rounded(lift.difference), low=_rounded(lift.interval.low), high=_rounded(lift.interval.high),
        ratio=_rounded(lift.ratio) if lift.ratio is not None else None, clear=lift.clear,
    )  # fmt: skip


def _rounded(value: float) -> float:
    return round(value, 4)


HEADER = (
    "campaign", "arm", "hidden", "households", "residents", "sent", *FIGURES, "rate", "rate_low", "rate_high",
    "lift", "lift_low", "lift_high", "clear",
)  # fmt: skip


def table_of(campaign: Campaign, shown: ResultsOut) -> Iterator[Sequence[object]]:
    """The rows of results as a sheet, under HEADER."""
    for arm in shown.arms:
        rate = (arm.rate.share, arm.rate.low, arm.rate.high) if arm.rate else (None, None, None)
        lift = (arm.lift.difference, arm.lift.low, arm.lift.high, arm.lift.clear) if arm.lift else (None,) * 4
        figures = (getattr(arm, name) for name in FIGURES)
        yield (campaign.name, arm.arm, arm.hidden, arm.households, arm.residents, arm.sent, *figures, *rate, *lift)
