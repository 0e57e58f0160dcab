"""The list of every payload in use, with the streams that carry it. `docs/events.md` is checked against it."""

from types import MappingProxyType
from typing import Final

from hive_contracts import agents, messages, questions, reminders, retention, turns
from hive_contracts.envelope import Payload

OUTBOX, INBOX, CONTROL, LIVE, EVENTS, COMMANDS = "outbox", "inbox", "control", "live", "events", "commands"
DEAD: Final = "dead"

CARRIED: Final[tuple[tuple[type[Payload], tuple[str, ...]], ...]] = (
    (messages.SendMessage, (OUTBOX,)),
    (messages.MessageDelivered, (INBOX, EVENTS)),
    (messages.MessageAccepted, (CONTROL, EVENTS)),
    (messages.MessageRefused, (CONTROL, EVENTS)),
    (messages.MessageInTurn, (EVENTS,)),
    (messages.MessageAcked, (LIVE, EVENTS)),
    (messages.MessageFailed, (EVENTS,)),
    (messages.MessageDead, (DEAD, EVENTS)),
    (messages.RedriveMessage, (COMMANDS,)),
    (messages.LoopStopped, (EVENTS,)),
    (questions.AskQuestion, (OUTBOX,)),
    (questions.AnswerQuestion, (OUTBOX,)),
    (questions.CancelQuestion, (OUTBOX,)),
    (questions.QuestionAsked, (EVENTS,)),
    (questions.QuestionAnswered, (EVENTS,)),
    (questions.QuestionExpired, (EVENTS,)),
    (questions.QuestionCancelled, (EVENTS,)),
    (reminders.SetReminder, (OUTBOX,)),
    (reminders.CancelReminder, (OUTBOX,)),
    (reminders.ReminderSet, (EVENTS,)),
    (reminders.ReminderDue, (EVENTS,)),
    (reminders.ReminderCancelled, (EVENTS,)),
    (reminders.ListThreads, (OUTBOX,)),
    (reminders.ThreadsListed, (CONTROL,)),
    (questions.ThreadAccepted, (CONTROL,)),
    (questions.ThreadRefused, (CONTROL,)),
    (agents.SpawnAgent, (COMMANDS,)),
    (agents.StartAgent, (COMMANDS,)),
    (agents.StopAgent, (COMMANDS,)),
    (agents.RestartAgent, (COMMANDS,)),
    (retention.SweepRetention, (COMMANDS,)),
    (agents.CommandDone, (EVENTS,)),
    (agents.CommandFailed, (EVENTS,)),
    (agents.AgentCreated, (EVENTS,)),
    (agents.ContainerStarted, (EVENTS,)),
    (agents.ContainerStopped, (EVENTS,)),
    (agents.ContainerCrashed, (EVENTS,)),
    (retention.RetentionSwept, (EVENTS,)),
    (agents.AgentStateChanged, (LIVE,)),
    (turns.TurnStarted, (LIVE,)),
    (turns.TurnJoined, (LIVE,)),
    (turns.TurnText, (LIVE,)),
    (turns.TurnThinking, (LIVE,)),
    (turns.TurnToolCall, (LIVE,)),
    (turns.TurnToolResult, (LIVE,)),
    (turns.TurnNote, (LIVE,)),
    (turns.TurnStderr, (LIVE,)),
    (turns.TurnRaw, (LIVE,)),
    (turns.TurnEnded, (LIVE,)),
)

PAYLOADS: Final = MappingProxyType({kind.TYPE: kind for kind, _ in CARRIED})
