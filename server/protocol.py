"""The native protocol as a state machine without I/O: messages in, events out, messages to send.

After `receive_text` or `receive_binary` the caller must handle the returned events and write what
`take` returns until it returns None. Utterances answer through `send`, `send_audio` and `fail`;
what a context may no longer say (it is cancelled, done or failed) is dropped here and nowhere else,
so after `context.cancelled` no message of that context can follow.

A context: idle -> open -> (streaming <-> starved) -> draining -> done
                            any of them -> cancelling -> cancelled, or failed
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from server import events, messages
from server.context_table import ContextRecord, ContextTable, State
from server.errors import ClientError, error_code
from server.events import Event
from server.frames import AudioPacket
from server.outbox import Outbox, Sent
from server.settings import Settings, apply

MAX_STRIKES = 3  # bad messages in a row
STRIKES = frozenset({"bad_json", "bad_message", "binary_not_allowed"})


@dataclass(frozen=True, slots=True)
class Limits:
    """What one session may do."""

    max_contexts: int = 8
    max_text_bytes: int = 65536  # per message, UTF-8
    max_buffer_chars: int = 8000  # per context, not yet spoken; as many flushes may wait
    max_session_chars: int = 200_000


class SessionProtocol:
    """One session. See the module docstring.

    Args:
        check: Raises ClientError for settings the server cannot serve (voice, language, codec).
        new_request_id: Makes the id under which an error is found in the log.
        unix_ms: The time for `pong`.
        spend: Takes characters from what the API key may use; raises ClientError.
    """

    def __init__(
        self,
        limits: Limits,
        defaults: Settings,
        *,
        new_request_id: Callable[[], str],
        unix_ms: Callable[[], int],
        check: Callable[[Settings], None],
        spend: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.limits = limits
        self.defaults = defaults
        self._check = check
        self._spend = spend
        self._new_request_id = new_request_id
        self._unix_ms = unix_ms
        self._outbox = Outbox()
        self._contexts = ContextTable(self._outbox.forget)
        self._strikes = 0
        self._session_chars = 0
        self._is_closing = False  # no new contexts
        self._events: list[Event] = []

    # --- what arrives -----------------------------------------------------------------------------

    def receive_text(self, data: str) -> list[Event]:
        """Take one text message; return what it asks for."""
        try:
            message = messages.decode_message(data)
            num_bytes = len(data.encode(errors="replace"))
            if num_bytes > self.limits.max_text_bytes:
                text = f"message is {num_bytes} bytes, valid: up to {self.limits.max_text_bytes}"
                raise ClientError("text_too_long", text, ctx=getattr(message, "ctx", None))
            self._strikes = 0
            self._dispatch(message)
        except ClientError as error:
            self._report(error)
        return self._take_events()

    def receive_binary(self, data: bytes) -> list[Event]:
        """Refuse one binary message."""
        message = f"a binary message of {len(data)} bytes, valid: JSON text messages"
        self._report(ClientError("binary_not_allowed", message))
        return self._take_events()

    def _take_events(self) -> list[Event]:
        taken, self._events = self._events, []
        return taken

    def _dispatch(self, message: messages.ClientMessage | messages.Unknown) -> None:
        match message:
            case messages.Text():
                self._on_text(message)
            case messages.ContextOpen():
                self._on_open(message)
            case messages.Flush():
                self._on_flush(message)
            case messages.End():
                self._on_end(message.ctx)
            case messages.Cancel():
                self._on_cancel(message)
            case messages.Ack():
                self._on_ack(message)
            case messages.Update():
                self._on_update(message)
            case messages.SessionUpdate():
                self._on_session_update(message)
            case messages.SessionResume():
                self._events.append(events.ResumeRequested(message.token, message.last))
            case messages.Ping():
                self.send_session(messages.Pong(self._unix_ms(), message.t))
            case messages.Close():
                self._is_closing = True
                self._events.append(events.CloseRequested(message.mode))
            case _:
                valid = ", ".join(messages.CLIENT_TYPES)
                self.warn("unknown_type", f"type is {message.type!r:.80}, valid: {valid}")

    def _on_session_update(self, message: messages.SessionUpdate) -> None:
        changed = apply(self.defaults, message.defaults)
        self._check(changed)
        self.defaults = changed
        self.send_session(messages.SessionUpdated(changed))

    def _on_open(self, message: messages.ContextOpen) -> None:
        before = self._contexts.active(message.ctx)
        if before is not None:
            text = f"ctx {message.ctx!r} is {before.state}, use another id"
            raise ClientError("context_conflict", text, ctx=message.ctx)
        if message.preempt:
            for context in self._contexts:
                fade_ms = 120.0 if message.preempt == "fade" else None
                self._cancel(context, "preempted", None, fade_ms)
        settings = apply_in(message.ctx, self.defaults, message.overrides)
        self._open(message.ctx, settings, is_resumable=message.resume_ok)

    def _open(self, ctx: str, settings: Settings, *, is_resumable: bool = False) -> ContextRecord:
        """Make a context.

        Raises:
            ClientError: If there may be no other one or its settings cannot be served. Text that
                still comes for it is swallowed until its end.
        """
        self._contexts.unbury(ctx)
        try:
            self._refuse_open(ctx, settings)
            self._check(settings)
        except ClientError as error:
            self._contexts.bury(ctx)
            error.ctx = ctx
            raise
        context = self._contexts.add(ctx, settings, is_resumable=is_resumable)
        self._outbox.watch(context.alias, keeps=is_resumable)
        self._events.append(events.ContextOpened(context.alias, ctx, settings))
        return context

    def _refuse_open(self, ctx: str, settings: Settings) -> None:
        if self._is_closing:
            raise ClientError("draining", "the session is closing, open contexts elsewhere")
        active = [c for c in self._contexts if c.state is not State.CANCELLING]
        # Those that are stopping count apart: opening the next one at once is a barge-in's way.
        if max(len(active), len(self._contexts) // 2) >= self.limits.max_contexts:
            text = f"{len(self._contexts)} contexts are open, valid: {self.limits.max_contexts}"
            raise ClientError("context_limit", text)
        if active and "raw" in (settings.framing, *(c.settings.framing for c in active)):
            raise ClientError("context_conflict", f"framing raw admits one context, not {ctx!r}")

    def _on_text(self, message: messages.Text) -> None:
        if self._contexts.is_buried(message.ctx, ends=message.end):
            return
        context = self._contexts.active(message.ctx)
        if context is None:
            context = self._open(message.ctx, self.defaults)
        self._expect_text(context)
        if message.flush and not message.end:
            self._expect_flush(context)
        self._admit(context, len(message.text))
        text = context.intake.feed(message.text)
        if text:
            self._events.append(events.TextAppended(context.alias, text))
        if context.state is State.STARVED:
            context.state = State.STREAMING
        if message.end:
            self._end(context)
        elif message.flush:
            self._flush(context, None)

    def _admit(self, context: ContextRecord, num_chars: int) -> None:
        buffered = context.received_chars - context.spoken_chars + num_chars
        if buffered > self.limits.max_buffer_chars:
            text = f"{buffered} characters would wait, valid: {self.limits.max_buffer_chars}"
            raise ClientError("buffer_full", text, ctx=context.id)
        if self._session_chars + num_chars > self.limits.max_session_chars:
            text = f"more than {self.limits.max_session_chars} characters in one session"
            raise ClientError("text_too_long", text, ctx=context.id)
        try:
            self._spend(num_chars)
        except ClientError as error:
            error.ctx = context.id
            raise
        context.received_chars += num_chars
        self._session_chars += num_chars

    def _expect_text(self, context: ContextRecord) -> None:
        if context.state in (State.DRAINING, State.CANCELLING):
            text = f"ctx {context.id!r} is {context.state}, use another id or wait for its end"
            raise ClientError("context_conflict", text, ctx=context.id)

    def _on_flush(self, message: messages.Flush) -> None:
        if not self._contexts.is_buried(message.ctx):
            context = self._get(message.ctx)
            self._expect_text(context)
            self._expect_flush(context)
            self._flush(context, message.id)

    def _expect_flush(self, context: ContextRecord) -> None:
        # No text waits that more of them could be between; without text they would be without end.
        if context.waiting_flushes >= self.limits.max_buffer_chars:
            text = f"{context.waiting_flushes} flushes wait, valid: {self.limits.max_buffer_chars}"
            raise ClientError("buffer_full", text, ctx=context.id)

    def _flush(self, context: ContextRecord, flush_id: str | int | None) -> None:
        context.waiting_flushes += 1
        self._events.append(events.FlushRequested(context.alias, flush_id))

    def _on_end(self, ctx: str) -> None:
        if not self._contexts.is_buried(ctx, ends=True):
            context = self._get(ctx)
            self._expect_text(context)
            self._end(context)

    def _end(self, context: ContextRecord) -> None:
        context.state = State.DRAINING
        rest = context.intake.finish()
        if rest:
            self._events.append(events.TextAppended(context.alias, rest))
        self._events.append(events.TextEnded(context.alias))

    def _on_cancel(self, message: messages.Cancel) -> None:
        if message.ctx == "*":
            for context in self._contexts:
                self._cancel(context, "client", message.played_ms, message.fade_ms)
        elif not self._contexts.is_buried(message.ctx, ends=True):
            # After `context.done` the client still plays what it has: it may ask what was heard.
            context = self._contexts.recent(message.ctx) or self._get(message.ctx)
            self._cancel(context, "client", message.played_ms, message.fade_ms)

    def _cancel(
        self, context: ContextRecord, reason: str, played_ms: float | None, fade_ms: float | None
    ) -> None:
        if context.state is not State.CANCELLING:
            context.state = State.CANCELLING
            self._outbox.purge(context.alias)
            self._events.append(events.CancelRequested(context.alias, reason, played_ms, fade_ms))

    def _on_ack(self, message: messages.Ack) -> None:
        context = self._contexts.active(message.ctx)
        if context is not None:  # playback goes on after the end: a late ack is no fault
            acked = events.PlaybackAcked(context.alias, message.played_ms, message.seq)
            self._events.append(acked)

    def _on_update(self, message: messages.Update) -> None:
        if not self._contexts.is_buried(message.ctx):
            context = self._get(message.ctx)
            settings = apply_in(context.id, context.settings, message.changes)
            try:
                self._check(settings)
            except ClientError as error:
                error.ctx = context.id
                raise
            context.settings = settings
            self._events.append(events.SettingsUpdated(context.alias, settings))

    def _get(self, ctx: str) -> ContextRecord:
        context = self._contexts.active(ctx)
        if context is None:
            valid = ", ".join(c.id for c in self._contexts) or "none is open"
            raise ClientError("context_unknown", f"ctx is {ctx!r}, valid: {valid}", ctx=ctx)
        return context

    # --- what leaves ------------------------------------------------------------------------------

    def take(self) -> str | bytes | None:
        """Return the next message to write, None if there is none."""
        return self._outbox.take()

    def bytes_queued(self) -> int:
        """Return the size of what waits to be written."""
        return self._outbox.bytes_queued()

    def sent(self, alias: int) -> Sent:
        """Return how far the writing of a context's audio is."""
        return self._outbox.sent(alias)

    def send_session(self, message: messages.ServerMessage) -> None:
        """Queue a message that concerns no context."""
        self._outbox.put_text(messages.encode_message(message))

    def refuse(self, code: str, message: str) -> None:
        """Queue the error of a request that the session cannot grant."""
        self._outbox.put_text(self._error(code, message, None, False))

    def send(self, alias: int, message: messages.ServerMessage) -> bool:
        """Queue a context's message; return False if the context may not say it any more."""
        context = self._contexts.by_alias(alias)
        is_answer = isinstance(message, messages.ContextCancelled)
        if context is None or (context.state is State.CANCELLING) != is_answer:
            return False
        if context.state is State.DONE:
            return False
        if isinstance(message, messages.SegmentStarted):
            context.spoken_chars = max(context.spoken_chars, message.end)
            if context.state is not State.DRAINING:
                context.state = State.STREAMING
        if isinstance(message, messages.FlushDone):
            context.waiting_flushes -= 1
        is_pinned = isinstance(message, messages.ContextStarted)
        text = messages.encode_message(message)
        self._outbox.put_text(text, alias=alias, is_pinned=is_pinned)
        if isinstance(message, messages.ContextDone):
            self._contexts.finish(context, State.DONE)
        elif is_answer:
            self._contexts.finish(context, State.CANCELLED)
        return True

    def send_audio(self, alias: int, packets: Sequence[AudioPacket]) -> bool:
        """Queue consecutive packets of a context; return False if it may send no more."""
        context = self._contexts.by_alias(alias)
        if context is None or context.state in (State.CANCELLING, State.DONE):
            return False
        self._outbox.put_audio(packets, alias, is_raw=context.settings.framing == "raw")
        return True

    def starve(self, alias: int) -> None:
        """Note that a context has spoken all its text and waits for more."""
        context = self._contexts.by_alias(alias)
        if context is not None and context.state is State.STREAMING:
            context.state = State.STARVED

    def fail(
        self,
        alias: int,
        code: str,
        message: str,
        *,
        request_id: str | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        """End a context with an error; packets that wait are still sent."""
        context = self._contexts.by_alias(alias)
        if context is None or context.state is State.DONE:
            return
        text = self._error(
            code, message, context.id, True, request_id=request_id, retry_after_ms=retry_after_ms
        )
        self._outbox.put_text(text, alias=alias)
        if context.state not in (State.DRAINING, State.CANCELLING):
            self._contexts.bury(context.id)
        self._contexts.finish(context, State.FAILED)

    def end_session(self, code: str, message: str) -> Event:
        """Queue the error that ends the session; return the event to close with."""
        self._outbox.put_text(self._error(code, message, None, True))
        self._is_closing = True
        return events.Disconnect(error_code(code).close, code)

    def cancel_all(self, reason: str) -> list[Event]:
        """Cancel every context; return what that asks for."""
        for context in self._contexts:
            self._cancel(context, reason, None, None)
        return self._take_events()

    def park(self) -> list[Event]:
        """Take note that the socket is gone: cancel the contexts that are not to be resumed."""
        for context in self._contexts:
            if not context.is_resumable:
                self._cancel(context, "disconnected", None, None)
        return self._take_events()

    @property
    def num_resumable(self) -> int:
        """Contexts that outlive their socket, those that finished lately included."""
        return len(self._contexts.resumable())

    def resume(self, session_id: str, last: Mapping[str, int]) -> None:
        """Queue the word that the session goes on, and what followed the last packets of a client.

        Args:
            last: The `seq` of each context's last packet that arrived; without one, everything
                that is kept is sent again.
        """
        resumed = self._contexts.resumable()
        for context in resumed:
            self._outbox.rewind(context.alias, last.get(context.id, -1))
        ended = tuple(c.id for c in resumed if c.state in (State.DRAINING, State.DONE))
        received = {context.id: context.received_chars for context in resumed}
        names = tuple(context.id for context in resumed)
        message = messages.SessionResumed(session_id, names, received, ended)
        self._outbox.put_first(messages.encode_message(message))

    def go_away(self, deadline_ms: int) -> None:
        """Announce that the server drains; no context can be opened from here on."""
        self._is_closing = True
        self.send_session(messages.GoingAway(deadline_ms))

    def warn(self, code: str, detail: str, *, ctx: str | None = None) -> None:
        """Queue a warning."""
        self.send_session(messages.WarningMessage(code, detail, ctx))

    @property
    def num_active(self) -> int:
        """Contexts that have not ended."""
        return len(self._contexts)

    def state_of(self, alias: int) -> State | None:
        """Return a context's state; None when it is forgotten."""
        context = self._contexts.by_alias(alias)
        return context.state if context else None

    def _report(self, error: ClientError) -> None:
        """Queue the error of a bad message; the third in a row ends the session."""
        if error.code in STRIKES:
            self._strikes += 1
        is_last = self._strikes >= MAX_STRIKES
        self._outbox.put_text(
            self._error(
                error.code,
                error.message,
                error.ctx,
                is_last,
                retry_after_ms=error.retry_after_ms,
            )
        )
        if is_last:
            self._is_closing = True
            self._events.append(events.Disconnect(error_code(error.code).close, error.code))

    def _error(
        self,
        code: str,
        message: str,
        ctx: str | None,
        fatal: bool,
        *,
        request_id: str | None = None,
        retry_after_ms: int | None = None,
    ) -> str:
        entry = error_code(code)
        error = messages.ErrorMessage(
            code=entry.code,
            status=entry.status,
            message=message,
            retryable=entry.retryable,
            request_id=request_id or self._new_request_id(),
            fatal=fatal,
            ctx=ctx,
            retry_after_ms=retry_after_ms,
        )
        return messages.encode_message(error)


def apply_in(ctx: str, settings: Settings, patch: dict[str, object]) -> Settings:
    """Return `settings` with `patch`; its error names the context."""
    try:
        return apply(settings, patch)
    except ClientError as error:
        error.ctx = ctx
        raise
