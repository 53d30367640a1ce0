//! Records as they are kept. `golden/v<N>/` holds what builds of that version wrote; every one must
//! stay readable. The files are the samples: nothing here builds a record.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use gantry_domain::{
    Repository,
    approval::{Approvals, VerdictState},
    drift::{DriftPlan, DriftSchedule, DriftSettings},
    event::{EventRecord, EventSource},
    feedback::{Posted, Shows, Statuses},
    integration::Integration,
    module::Packed,
    notification::{NotificationEvent, TargetKind},
    protocol::StateDoubt,
    rights::StackLevels,
    run::{Effect, Phase, PlanMode, Position, Purpose, Run, RunState, RunType},
    stack::{
        CommentLevel, Hooks, OnPush, OnTag, Replan, Roles, Scheduled, Stack, StackHead, Tool,
        TrackedQueue,
    },
    state::StateForm,
    text::status::CommitState,
    timer::StackTimer,
};
use gantry_golden::Golden;
use gantry_store::{
    config::{
        Activity, AdminKey, DriftDefaults, Pause, Person, PersonSession, ProjectEntry,
        ProjectStack, RegistryEntry, Role, SignIn, SlugEntry, UploadUse,
    },
    feedback::Refusal,
    health::Health,
    notifications::{Delivery, DeliveryState, NotificationTarget, SendAgain, TargetHealth},
    runner::{
        Beat, Claim, FreeRunner, HandedOn, LogHeld, LogPiece, StateLock, StatePin, StateUpload,
        StateVersion,
    },
    scheduler::{
        BlockedStack, BudgetUsed, CommandOutcome, CommentRecord, ComparedFolder, Comparing,
        DecisionRecord, DriftedStack, FailedStack, FetchedSource, GivenUp, Heard, ListedRun,
        MergeRequestRecord, Once, ProjectPath, ProjectVisibility, QueueEntry, Receipt, RefRecord,
        RunEntry, SlotEntry, SlotLimit, StartedBuild, Subject, Suite, TimersLook, TrackedBranch,
        VersionRecord, VersionState,
    },
};
use std::{collections::BTreeSet, fs, path::Path};

/// The form that is written. Where it becomes another one, a new folder gets samples of it, and
/// this one stays: it must be readable.
fn samples() -> Golden {
    let mut golden = Golden::of("shared/store/golden/v1");
    of_settings(&mut golden);
    of_the_scheduler(&mut golden);
    of_runners(&mut golden);
    golden.check::<Posted>("posted");
    golden.check::<Delivery>("delivery");
    golden.check::<TargetHealth>("target-health");
    words(&mut golden);
    golden
}

fn of_settings(golden: &mut Golden) {
    golden.check::<Stack>("stack");
    // Serde tells no names of what is flattened: of a stack's settings these have fields of their own.
    golden.check_part::<Hooks>("stack", "/hooks");
    golden.check_part::<OnTag>("stack", "/on_tag");
    golden.check_part::<Roles>("stack", "/roles");
    golden.check_part::<Approvals>("stack", "/approvals");
    golden.check_part::<StackLevels>("stack", "/levels");
    golden.check_part::<DriftSettings>("stack", "/drift");
    golden.check_part::<Vec<Scheduled>>("stack", "/schedules");
    golden.check::<Integration>("integration");
    golden.check::<SlugEntry>("slug-entry");
    golden.check::<SlugEntry>("slug-entry-in-gitlab");
    golden.check::<ProjectStack>("project-stack");
    golden.check::<RegistryEntry>("registry-entry");
    golden.check::<ProjectEntry>("project-entry");
    golden.check::<AdminKey>("admin-key");
    golden.check::<Activity>("activity");
    golden.check::<Activity>("activity-of-a-run");
    golden.check::<Pause>("pause");
    golden.check::<DriftDefaults>("drift-defaults");
    golden.check::<SignIn>("sign-in");
    golden.check::<SignIn>("sign-in-without-links");
    golden.check::<Person>("person");
    golden.check::<PersonSession>("person-session");
    golden.check::<PersonSession>("person-key");
    golden.check::<UploadUse>("upload-use");
    golden.check::<NotificationTarget>("notification-target");
    golden.check::<SendAgain>("send-again");
}

fn of_the_scheduler(golden: &mut Golden) {
    golden.check::<Run>("run");
    golden.check::<Run>("run-in-doubt");
    golden.check::<Run>("run-in-part");
    golden.check::<Run>("run-checked");
    golden.check::<Run>("run-warned");
    golden.check::<Run>("run-uploaded");
    golden.check::<Run>("run-commented");
    golden.check::<Run>("run-titled");
    golden.check::<Run>("run-not-started");
    golden.check::<Run>("run-interrupted");
    golden.check::<Run>("run-reviewed");
    golden.check::<Run>("run-unpushed");
    golden.check::<ListedRun>("listed-run");
    golden.check::<ListedRun>("listed-run-unpushed");
    golden.check::<StackHead>("stack-head");
    golden.check::<StackHead>("stack-head-applied");
    golden.check::<StackHead>("stack-head-applied-in-part");
    golden.check::<StackHead>("stack-head-drifted");
    golden.check::<StackTimer>("stack-timer");
    golden.check::<TimersLook>("timers-look");
    golden.check::<DriftedStack>("drifted-stack");
    golden.check::<RunEntry>("run-entry");
    golden.check::<Once>("once");
    golden.check::<Suite>("suite");
    golden.check::<VersionRecord>("version-record");
    golden.check::<Subject>("subject");
    golden.check::<TrackedBranch>("tracked-branch");
    golden.check::<TrackedBranch>("tracked-branch-titled");
    golden.check::<DecisionRecord>("decision-record");
    golden.check::<MergeRequestRecord>("merge-request-record");
    golden.check::<CommentRecord>("comment-record");
    golden.check::<RefRecord>("ref-record");
    golden.check::<EventRecord>("event-record");
    golden.check::<CommandOutcome>("command-outcome");
    golden.check::<QueueEntry>("line-entry");
    golden.check::<SlotEntry>("room-entry");
    golden.check::<SlotLimit>("room-limit");
    golden.check::<BlockedStack>("blocked-stack");
    golden.check::<FailedStack>("failed-stack");
    golden.check::<GivenUp>("given-up");
    golden.check::<StartedBuild>("started-build");
    golden.check::<FetchedSource>("fetched-source");
    golden.check::<Heard>("heard");
    golden.check::<Comparing>("comparing");
    golden.check::<Comparing>("comparing-in-turn");
    golden.check::<Comparing>("comparing-other-branches");
    golden.check::<Comparing>("comparing-comments");
    golden.check::<ComparedFolder>("compared-folder");
    golden.check::<ProjectPath>("project-path");
    golden.check::<ProjectVisibility>("project-visibility");
    golden.check::<ProjectVisibility>("project-visibility-of-a-server");
    golden.check::<BudgetUsed>("budget-used");
    golden.check::<Receipt>("receipt");
    golden.check::<Refusal>("refusal");
    golden.check::<Health>("health");
    golden.check::<Health>("health-token-rejected");
    golden.check::<Health>("health-rate-limited");
}

fn of_runners(golden: &mut Golden) {
    golden.check::<Beat>("beat");
    golden.check::<Claim>("claim");
    golden.check::<Claim>("claim-held");
    golden.check::<HandedOn>("handed-on");
    golden.check::<FreeRunner>("free-runner");
    golden.check::<StateLock>("state-lock");
    golden.check::<StateVersion>("state-version");
    golden.check::<StateVersion>("state-version-encrypted");
    golden.check::<StatePin>("state-pin");
    golden.check::<StateUpload>("state-upload");
    golden.check::<LogPiece>("log-piece");
    golden.check::<LogPiece>("log-piece-counted");
    golden.check::<LogHeld>("log-held");
    golden.check::<LogHeld>("log-held-counted");
}

/// The words for what has a few values only, and what comes in several forms.
fn words(golden: &mut Golden) {
    golden.check::<Vec<RunState>>("run-states");
    golden.check::<Vec<RunType>>("run-types");
    golden.check::<Vec<Purpose>>("purposes");
    golden.check::<Vec<Phase>>("phases");
    golden.check::<Vec<Effect>>("effects");
    golden.check::<Vec<Position>>("places");
    golden.check::<Vec<Repository>>("repositories");
    golden.check::<Vec<Packed>>("packed");
    golden.check::<Vec<Tool>>("tools");
    golden.check::<Vec<OnPush>>("on-push");
    golden.check::<Vec<TrackedQueue>>("tracked-queues");
    golden.check::<Vec<CommentLevel>>("comment-levels");
    golden.check::<Vec<Role>>("roles");
    golden.check::<Vec<Statuses>>("statuses");
    golden.check::<Vec<Shows>>("shows");
    golden.check::<Vec<CommitState>>("commit-states");
    golden.check::<Vec<EventSource>>("event-sources");
    golden.check::<Vec<VersionState>>("version-states");
    golden.check::<Vec<StateForm>>("state-forms");
    golden.check::<Vec<StateDoubt>>("state-doubts");
    golden.check::<Vec<VerdictState>>("verdict-states");
    golden.check::<Vec<NotificationEvent>>("notification-events");
    golden.check::<Vec<TargetKind>>("target-kinds");
    golden.check::<Vec<DeliveryState>>("delivery-states");
    golden.check::<Vec<PlanMode>>("plan-modes");
    golden.check::<Vec<DriftPlan>>("drift-plans");
    golden.check::<Vec<DriftSchedule>>("drift-schedules");
    golden.check::<Vec<Replan>>("replans");
}

/// What a record without a field means is what it meant when the field came: a line here that
/// changes, or a new one that says "needed", is a record that cannot be read as it was meant.
#[test]
fn every_record_is_read_and_written_as_it_was_and_has_a_meaning_without_its_newer_fields() {
    insta::assert_snapshot!("without_a_field", samples().end());
}

/// Nobody else can name it: it counts how often a message failed.
const WITHOUT_SAMPLE: [&str; 1] = ["Failures"];

#[test]
fn every_record_of_this_crate_has_a_sample() {
    let known = samples().structs();
    let records = records();
    let missing: Vec<_> = records
        .iter()
        .filter(|record| !known.contains(record.as_str()))
        .filter(|record| !WITHOUT_SAMPLE.contains(&record.as_str()))
        .collect();
    assert!(records.len() > 40, "{records:?}");
    assert!(
        missing.is_empty(),
        "{missing:?} have no sample: write a file of each into golden/v1, and name it in this test"
    );
}

/// The names of the structs in this crate's code that are written and read.
fn records() -> BTreeSet<String> {
    let mut records = BTreeSet::new();
    for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap() {
        let Ok(text) = fs::read_to_string(file.unwrap().path()) else { continue };
        let mut is_kept = false;
        for line in text.lines() {
            if let Some(derived) = line.strip_prefix("#[derive(") {
                is_kept = derived.contains("Serialize") && derived.contains("Deserialize");
            }
            let declared = line.strip_prefix("pub ").unwrap_or(line).strip_prefix("struct ");
            if let (true, Some(name)) = (is_kept, declared) {
                let end = name.find(|c: char| !c.is_alphanumeric()).unwrap_or(name.len());
                records.insert(name.get(..end).unwrap().to_owned());
            }
            is_kept &= line.starts_with("#[") || line.starts_with("///");
        }
    }
    records
}
