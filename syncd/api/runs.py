"""Runs: asking a model for an answer, and looking how it goes."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from starlette.responses import Response

from crdt_conv import MAIN, Conversation, InvalidMessage, Target, UnknownBranch
from crdt_conv.ids import RunId
from crdt_conv.messages.fields import is_exact
from syncd.answering import Answering, CantAnswer
from syncd.api.call import Call, field
from syncd.api.conversations import BRANCH_PARAMETER
from syncd.api.encoding import JsonResponse
from syncd.api.operations import Answer, Body, Operation, Parameter
from syncd.api.problems import Problem, invalid
from syncd.api.schemas import ID, NEW_APPROVAL, NEW_LEASE, NEW_RUN, TARGET, ref
from syncd.api.shapes import faults
from syncd.auth import Right
from syncd.leases import HubGrants


async def request_run(call: Call) -> Response:
    """Ask for an answer; it comes as messages, whoever fulfils it."""
    fields = await call.json()
    conversation = call.conversation()
    target = _target(conversation, fields.get("target"), call.answering)
    try:
        run = conversation.runs.request(target, fields.get("branch", MAIN))
    except UnknownBranch as error:
        raise invalid(field("branch"), str(error)) from error
    location = f"{call.request.url.path}/{quote(run.id, safe='')}"
    return JsonResponse(run.as_json(), 202, headers={"Location": location})


def _target(conversation: Conversation, asked: dict[str, Any] | None, answering: Answering | None) -> Target:
    given = asked if asked is not None else conversation.read("meta").get("target")
    default = answering.default if answering is not None else None
    if given is None and default is not None:
        return default
    if given is None:
        raise invalid(
            field("target"), "is missing, and neither the conversation nor this server has a default"
        )
    # The default comes from a document, and so from a stranger.
    for fault in faults(given, TARGET):
        raise invalid(field("target") + fault.pointer, fault.detail)
    if not is_exact(given):
        raise invalid(field("target"), "a value that not every replica could read as it is")
    return Target(given["adapter"], given.get("model"), given.get("endpoint"), given.get("params", {}))


async def show_run(call: Call) -> Response:
    """Show how a run goes."""
    return JsonResponse(call.conversation().runs[call.path["run"]].as_json())


async def approve_call(call: Call) -> Response:
    """Say whether a call of a tool may be made."""
    fields = await call.json()
    runs, run_id = call.conversation().runs, call.path["run"]
    try:
        run = runs.approve(run_id, fields["call"], approved=fields["approved"])
    except InvalidMessage as error:
        raise invalid(field("call"), str(error)) from error
    return JsonResponse(run.as_json())


async def acquire_lease(call: Call) -> Response:
    """Take or renew the right to fulfil a run."""
    fields = await call.json()
    conversation = call.conversation()
    grants = HubGrants(call.request.app.state.hub)
    epoch = grants.grant(conversation, RunId(call.path["run"]), fields["owner"], fields["ttl_s"])
    if epoch is None:
        raise Problem(409, "another executor has this run, or it is over")
    return JsonResponse({"epoch": epoch, "state_vector": conversation.state_vector.hex()})


async def release_lease(call: Call) -> Response:
    """Give the right to fulfil a run to others."""
    grants = HubGrants(call.request.app.state.hub)
    await grants.release(call.conversation(), RunId(call.path["run"]), str(call.query("owner")))
    return Response(status_code=204)


async def explain_request(call: Call) -> Response:
    """Show what would be sent, and why; nothing is."""
    if call.answering is None:
        raise Problem(501, "this server has no adapters")
    conversation, branch = call.conversation(), call.query("branch") or MAIN
    asked = {
        name: value for name in ("adapter", "model", "endpoint") if (value := call.query(name)) is not None
    }
    target = _target(conversation, asked if "adapter" in asked else None, call.answering)
    try:
        shown = call.answering.explain(conversation, target, branch)
    except CantAnswer as error:
        raise Problem(422, str(error)) from error
    return JsonResponse(dict(shown))


async def list_models(call: Call) -> Response:
    """List what this server answers with."""
    offered = call.answering.offered if call.answering is not None else ()
    return JsonResponse({"models": [{"adapter": each.adapter, "model": each.model} for each in offered]})


_NAME: Final = {"type": "string", "minLength": 1, "maxLength": 2000}
EXPLAINED: Final = (
    Parameter(
        "adapter",
        _NAME,
        "For which adapter; the conversation's or the server's default, where it is left out.",
    ),
    Parameter("model", _NAME, "For which model."),
    Parameter("endpoint", _NAME, "For which server."),
    BRANCH_PARAMETER,
)

OPERATIONS: Final = (
    Operation(
        "listModels",
        "GET",
        "/models",
        "What this server answers with, its default first",
        list_models,
        None,
        {200: Answer("Adapters; `model` is null where a run has to name one.", ref("Models"))},
        note="Any token.",
    ),
    Operation(
        "explainRequest",
        "GET",
        "/conversations/{conversation}/explain",
        "What would be sent to a model, and why; nothing is sent",
        explain_request,
        Right.READ,
        {200: Answer("The request and its report.", ref("Explanation"))},
        parameters=EXPLAINED,
        refusals=(422, 501),
    ),
    Operation(
        "requestRun",
        "POST",
        "/conversations/{conversation}/runs",
        "Ask a model to answer a branch; asking again gives an alternative",
        request_run,
        Right.RUN,
        {202: Answer("It waits for an executor.", ref("Run"), headers={"Location": "Where the run is."})},
        body=Body(NEW_RUN, is_required=False),
    ),
    Operation(
        "showRun",
        "GET",
        "/conversations/{conversation}/runs/{run}",
        "How a run goes",
        show_run,
        Right.READ,
        {200: Answer("The run.", ref("Run"))},
    ),
    Operation(
        "approveCall",
        "POST",
        "/conversations/{conversation}/runs/{run}/approvals",
        "Say whether a call of a tool that waits for a person may be made",
        approve_call,
        Right.RUN,
        {200: Answer("The run.", ref("Run"))},
        body=Body(NEW_APPROVAL),
    ),
    Operation(
        "acquireLease",
        "PUT",
        "/conversations/{conversation}/runs/{run}/lease",
        "Take or renew the right to fulfil a run, as an executor",
        acquire_lease,
        Right.RUN,
        {200: Answer("It is this owner's.", ref("Lease"))},
        body=Body(NEW_LEASE),
        refusals=(409,),
    ),
    Operation(
        "releaseLease",
        "DELETE",
        "/conversations/{conversation}/runs/{run}/lease",
        "Give that right to others, if this owner has it",
        release_lease,
        Right.RUN,
        {204: Answer("It is not this owner's any more.", media=None)},
        parameters=(Parameter("owner", ID, "Who has it.", is_required=True),),
    ),
)
