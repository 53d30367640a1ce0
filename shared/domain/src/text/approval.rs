//! What is said of approvals, of who may confirm a run, and why somebody may not.
//!
//! Names, comments and reasons come from outside: each is one clean line. In a comment at GitLab all
//! of it passes through [`super::markdown`] besides, where `@ops` would notify a group.

use super::{clean, clean_line, cut};
use crate::{
    MergeRequestIid,
    approval::{
        Beside, Decision, NotAllowed, NotReviewer, Override, Person, Progress, Review, Verdict, Who,
    },
    rights::Level,
};

/// Names listed in a sentence.
const NAMES: usize = 5;
/// How long a name may be, and how long what somebody wrote, in characters.
const NAME_CHARS: usize = 100;
const WORDS_CHARS: usize = 300;
/// How long a whole comment may be, in characters.
const COMMENT_CHARS: usize = 1_000;

const NOTHING_NEEDED: &str = "no approvals are needed";
/// Why a key of nobody's may not approve or reject a run.
pub const NOT_A_PERSON: &str = "Only a person can approve or reject a run: sign in with GitLab, or \
                                use an access key that you created yourself";
/// Why a run takes no review of somebody else.
pub const ENOUGH_REVIEWS: &str = "So many people have reviewed this run that no more are taken. \
                                  Discard it if it must not be applied.";
/// Why nobody who has signed in may go past the rules.
pub const NOT_AN_ADMINS_KEY: &str = "Only an access key with the role admin can override the rules";
/// Why nobody who has signed in may confirm a run, where nobody can sign in any more.
pub const NOBODY_SIGNS_IN: &str =
    "People can no longer sign in with GitLab, so only an access key can confirm this run";
/// Why a person may not confirm a run whose code is not in GitLab.
pub const ONLY_ADMINS: &str = "Only admins of this Gantry can confirm runs of code outside GitLab";

/// For everybody, such as in a status: `waits for 1 of 2 approvals, by @ops`.
pub fn of_run(verdict: &Verdict) -> String {
    match verdict {
        Verdict::MayConfirm { approvals, merge_request } => {
            fulfilled(approvals, *merge_request).unwrap_or_else(|| NOTHING_NEEDED.to_owned())
        }
        Verdict::Overridden(Override { key, reason }) => {
            let key = clean_line(key, NAME_CHARS);
            format!("the rules are overridden by the key {key}: {}", words(reason))
        }
        Verdict::NeedsApprovals { approvals } => waits(approvals),
        Verdict::NotAllowed(why) => not_allowed(why),
        Verdict::NotYet { why } => not_yet(why),
        Verdict::Rejected(review) => rejected(review),
    }
}

/// For the person who asks: `2 of 2 approvals by @ops; you may confirm`.
pub fn for_you(verdict: &Verdict) -> String {
    match verdict {
        Verdict::MayConfirm { approvals, merge_request } => {
            match fulfilled(approvals, *merge_request) {
                Some(said) => format!("{said}; you may confirm"),
                None => "you may confirm".to_owned(),
            }
        }
        other => of_run(other),
    }
}

/// The same as a sentence, for whoever wanted to confirm it and may not.
pub fn not_confirmed(verdict: &Verdict) -> String {
    capitalized(&for_you(verdict))
}

/// Why somebody may not approve or reject a run.
pub fn not_reviewer(why: &NotReviewer) -> String {
    match why {
        NotReviewer::NotAsked => "this run needs no approvals".to_owned(),
        NotReviewer::NotMeant { who } => {
            format!("only {} may approve or reject this run", listed(who, "and"))
        }
        NotReviewer::OwnRun => {
            "you started this run or merged its change, so somebody else must approve it".to_owned()
        }
        NotReviewer::NotYet { why } => not_yet(why),
    }
}

/// The same as a sentence, for whoever wanted to.
pub fn not_reviewed(why: &NotReviewer) -> String {
    capitalized(&not_reviewer(why))
}

/// What is said of the step of a run that nobody had to confirm.
pub fn by_itself(verdict: &Verdict) -> String {
    format!("Confirmed by itself: {}", of_run(verdict))
}

/// What whoever confirmed a run is told.
pub fn confirmed(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Overridden(Override { reason, .. }) => {
            let reason = words(reason);
            format!("Confirmed, overriding the rules: {}. Applying next.", unended(&reason))
        }
        _ => "Confirmed. Applying next.".to_owned(),
    }
}

/// What is said of the step of a run whose rules were overridden, with what was said besides.
pub fn overriding(reason: &str, comment: Option<&str>) -> String {
    let said = format!("Overrides the rules: {}", words(reason));
    match comment {
        Some(comment) => format!("{said}\n{comment}"),
        None => said,
    }
}

/// What whoever approved or rejected a run is told; with `applies` the run goes on by itself.
pub fn reviewed(decision: Decision, verdict: &Verdict, applies: bool) -> String {
    match decision {
        Decision::Approve => format!("Approved. {}", then(verdict, applies)),
        Decision::Reject => "Rejected. Nobody can confirm it until you approve it.".to_owned(),
    }
}

/// What somebody is told who approved what they had rejected, and whose approval does not count
/// because the run is their own.
pub fn taken_back(verdict: &Verdict, applies: bool) -> String {
    format!(
        "Your rejection is taken back; you started this run or merged its change, so your approval \
         does not count. {}",
        then(verdict, applies)
    )
}

/// What comes next, once somebody has decided.
fn then(verdict: &Verdict, applies: bool) -> String {
    match verdict {
        Verdict::MayConfirm { .. } if applies => {
            format!("{}. Applying next.", capitalized(&of_run(verdict)))
        }
        Verdict::NeedsApprovals { .. } => format!("It {}.", of_run(verdict)),
        verdict => format!("{}.", capitalized(unended(&of_run(verdict)))),
    }
}

/// What somebody says about their decision, as it is kept.
pub fn comment(said: &str) -> Option<String> {
    let said = cut(clean(said).trim(), COMMENT_CHARS);
    (!said.is_empty()).then_some(said)
}

/// Why a person may not confirm a run any more, although they could a moment ago.
pub fn lost_right(has: Option<Level>, needs: Level) -> String {
    let has = match has {
        Some(level) => format!("you are {level} in this project"),
        None => "you have no role in this project that shows you its code".to_owned(),
    };
    format!("In GitLab {has}, and this requires {needs}")
}

/// Why it is not known whether a person may still confirm a run.
pub fn right_unknown(why: &str) -> String {
    format!(
        "GitLab could not be asked for your rights: {}. Nothing was applied.",
        unended(&words(why))
    )
}

/// A person, as everything that they do shows them: `Ada Lovelace @ada`.
pub fn person(person: &Person) -> String {
    let username = clean_line(&person.username, NAME_CHARS);
    match clean_line(&person.name, NAME_CHARS) {
        name if name.is_empty() || name == username => format!("@{username}"),
        name => format!("{name} @{username}"),
    }
}

/// What was asked for, and is there; none where nothing was asked for.
fn fulfilled(approvals: &[Progress], merge_request: Option<MergeRequestIid>) -> Option<String> {
    let approvals = (!approvals.is_empty()).then(|| given(approvals));
    let merge_request = merge_request.map(|iid| format!("merge request !{iid} was approved"));
    let said: Vec<String> = approvals.into_iter().chain(merge_request).collect();
    (!said.is_empty()).then(|| said.join(", "))
}

fn given(approvals: &[Progress]) -> String {
    let each = approvals.iter().map(|progress| {
        let (given, required) = (progress.given.len(), progress.required);
        let word = noun(required);
        format!("{given} of {required} {word} by {}", listed(&progress.who, "or"))
    });
    each.collect::<Vec<_>>().join(", ")
}

fn waits(approvals: &[Progress]) -> String {
    let open = approvals.iter().filter(|progress| progress.missing() > 0).map(|progress| {
        let (missing, required) = (progress.missing(), progress.required);
        let by = listed(&progress.who, "or");
        match missing == required {
            true => format!("{required} {}, by {by}", noun(required)),
            false => format!("{missing} of {required} {}, by {by}", noun(required)),
        }
    });
    format!("waits for {}", open.collect::<Vec<_>>().join(", and "))
}

fn noun(count: u32) -> &'static str {
    if count == 1 { "approval" } else { "approvals" }
}

fn not_allowed(why: &NotAllowed) -> String {
    match why {
        NotAllowed::MayNotDeploy { environment, who } => may_deploy(environment, who),
        NotAllowed::NoPerson { environment, who } => {
            format!("{}, and a key is not a person there", may_deploy(environment, who))
        }
        NotAllowed::MergeRequestNotApproved(iid) => {
            format!("merge request !{iid}, which this commit came with, was not approved")
        }
        NotAllowed::WithoutMergeRequest => {
            "this commit did not come with a merge request that was approved".to_owned()
        }
        NotAllowed::Beside(why) => beside(why),
    }
}

fn beside(why: &Beside) -> String {
    match why {
        Beside::NotApproved { commit, merge_request: Some(iid) } => format!(
            "merge request !{iid}, which commit {} came with, is applied with this one and was not \
             approved",
            commit.short()
        ),
        Beside::NotApproved { commit, merge_request: None } => format!(
            "commit {}, which is applied with this one, did not come with a merge request that was \
             approved",
            commit.short()
        ),
        Beside::TooMany(most) => format!(
            "more than {most} commits came since the last apply, so it is not known whether all of \
             them came with approved merge requests"
        ),
        Beside::Unknown(since) => format!(
            "GitLab does not tell which commits came after {}, so it is not known whether all of \
             them came with approved merge requests",
            since.short()
        ),
    }
}

fn may_deploy(environment: &str, who: &[Who]) -> String {
    let environment = clean_line(environment, NAME_CHARS);
    match who {
        [] => format!("nobody may deploy to {environment} in GitLab"),
        who => format!("only {} may deploy to {environment} in GitLab", listed(who, "and")),
    }
}

fn not_yet(why: &str) -> String {
    format!("GitLab could not be asked who may confirm: {}", words(why))
}

fn rejected(review: &Review) -> String {
    let by = person(&review.by);
    match review.comment.as_deref().map(words) {
        Some(comment) if !comment.is_empty() => format!("rejected by {by}: {comment}"),
        _ => format!("rejected by {by}"),
    }
}

/// Without the full stop that what comes next brings.
fn unended(text: &str) -> &str {
    text.trim_end_matches('.')
}

fn capitalized(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}

fn words(text: &str) -> String {
    clean_line(text, WORDS_CHARS)
}

/// `Maintainers, @ada and @ops`, with this word before the last.
fn listed(who: &[Who], word: &str) -> String {
    let mut names: Vec<String> = who.iter().take(NAMES).map(name).collect();
    if let Some(more) = who.len().checked_sub(NAMES).filter(|more| *more > 0) {
        names.push(format!("{more} more"));
    }
    match names.pop() {
        None => "nobody".to_owned(),
        Some(last) if names.is_empty() => last,
        Some(last) => format!("{} {word} {last}", names.join(", ")),
    }
}

fn name(who: &Who) -> String {
    match who {
        Who::Role(level) => level.to_string(),
        Who::User { shown, .. } | Who::Group { shown, .. } => clean_line(shown, NAME_CHARS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        AccessLevel, CommitSha, GroupId, UserId,
        approval::{GroupReach, Origin},
    };

    fn someone(id: u64, username: &str, name: &str) -> Person {
        Person { id: UserId(id), username: username.to_owned(), name: name.to_owned() }
    }

    fn ops() -> Who {
        Who::Group { id: GroupId(7), reach: GroupReach::Direct, shown: "@ops".to_owned() }
    }

    fn ada() -> Who {
        Who::User { id: UserId(1), shown: "@ada".to_owned() }
    }

    fn progress(who: &[Who], required: u32, given: u64) -> Progress {
        let given = (0..given).map(|id| someone(id, "somebody", "")).collect();
        Progress { origin: Origin::Project, who: who.to_vec(), required, given }
    }

    fn review(comment: Option<&str>) -> Review {
        Review {
            by: someone(1, "ada", "Ada Lovelace"),
            decision: Decision::Reject,
            comment: comment.map(str::to_owned),
            at: "2026-01-02T03:04:05Z".parse().unwrap(),
        }
    }

    #[test]
    fn everybody_reads_why() {
        let maintainers = Who::Role(AccessLevel::MAINTAINER);
        let environment = || "gantry/network".to_owned();
        let commit = || "0123456789".repeat(4).parse::<CommitSha>().unwrap();
        let may = |approvals: Vec<Progress>| Verdict::MayConfirm { approvals, merge_request: None };
        let needs = |approvals: Vec<Progress>| Verdict::NeedsApprovals { approvals };
        let not = Verdict::NotAllowed;
        let many: Vec<Who> =
            (0..8).map(|id| Who::User { id: UserId(id), shown: format!("@user{id}") }).collect();
        let verdicts = [
            may(vec![]),
            may(vec![progress(&[ops()], 2, 2)]),
            may(vec![progress(&[ops()], 1, 1), progress(&[maintainers.clone(), ada()], 2, 2)]),
            Verdict::MayConfirm { approvals: vec![], merge_request: Some(MergeRequestIid(12)) },
            Verdict::MayConfirm {
                approvals: vec![progress(&[ops()], 2, 2)],
                merge_request: Some(MergeRequestIid(12)),
            },
            needs(vec![progress(&[ops()], 2, 1)]),
            needs(vec![progress(&[ops()], 1, 1), progress(&[ada()], 1, 0)]),
            needs(vec![progress(&[ops()], 3, 1), progress(&many, 2, 0)]),
            not(NotAllowed::MayNotDeploy {
                environment: environment(),
                who: vec![maintainers.clone(), ada()],
            }),
            not(NotAllowed::MayNotDeploy { environment: environment(), who: vec![] }),
            not(NotAllowed::NoPerson { environment: environment(), who: vec![maintainers] }),
            not(NotAllowed::MergeRequestNotApproved(MergeRequestIid(12))),
            not(NotAllowed::WithoutMergeRequest),
            not(NotAllowed::Beside(Beside::NotApproved {
                commit: commit(),
                merge_request: Some(MergeRequestIid(12)),
            })),
            not(NotAllowed::Beside(Beside::NotApproved { commit: commit(), merge_request: None })),
            not(NotAllowed::Beside(Beside::TooMany(50))),
            not(NotAllowed::Beside(Beside::Unknown(commit()))),
            Verdict::NotYet { why: "gitlab.example did not answer within 30 s".to_owned() },
            Verdict::Rejected(review(None)),
            Verdict::Rejected(review(Some("not on\na \u{1b}[1mFriday"))),
            Verdict::Overridden(Override {
                key: "night shift".to_owned(),
                reason: "GitLab is down".to_owned(),
            }),
        ];
        let said: Vec<String> = verdicts.iter().map(of_run).collect();
        insta::assert_snapshot!(said.join("\n"), @"
        no approvals are needed
        2 of 2 approvals by @ops
        1 of 1 approval by @ops, 2 of 2 approvals by Maintainers or @ada
        merge request !12 was approved
        2 of 2 approvals by @ops, merge request !12 was approved
        waits for 1 of 2 approvals, by @ops
        waits for 1 approval, by @ada
        waits for 2 of 3 approvals, by @ops, and 2 approvals, by @user0, @user1, @user2, @user3, @user4 or 3 more
        only Maintainers and @ada may deploy to gantry/network in GitLab
        nobody may deploy to gantry/network in GitLab
        only Maintainers may deploy to gantry/network in GitLab, and a key is not a person there
        merge request !12, which this commit came with, was not approved
        this commit did not come with a merge request that was approved
        merge request !12, which commit 01234567 came with, is applied with this one and was not approved
        commit 01234567, which is applied with this one, did not come with a merge request that was approved
        more than 50 commits came since the last apply, so it is not known whether all of them came with approved merge requests
        GitLab does not tell which commits came after 01234567, so it is not known whether all of them came with approved merge requests
        GitLab could not be asked who may confirm: gitlab.example did not answer within 30 s
        rejected by Ada Lovelace @ada
        rejected by Ada Lovelace @ada: not on a Friday
        the rules are overridden by the key night shift: GitLab is down
        ");
        assert_eq!(for_you(&verdicts[0]), "you may confirm");
        assert_eq!(for_you(&verdicts[1]), "2 of 2 approvals by @ops; you may confirm");
        assert_eq!(for_you(&verdicts[3]), "merge request !12 was approved; you may confirm");
        assert_eq!(for_you(&verdicts[5]), "waits for 1 of 2 approvals, by @ops");
    }

    #[test]
    fn who_may_not_review_reads_why() {
        let said: Vec<String> = [
            NotReviewer::NotAsked,
            NotReviewer::NotMeant { who: vec![ops(), Who::Role(AccessLevel::OWNER), ada()] },
            NotReviewer::OwnRun,
            NotReviewer::NotYet { why: "no answer".to_owned() },
        ]
        .iter()
        .map(not_reviewer)
        .collect();
        insta::assert_snapshot!(said.join("\n"), @"
        this run needs no approvals
        only @ops, Owners and @ada may approve or reject this run
        you started this run or merged its change, so somebody else must approve it
        GitLab could not be asked who may confirm: no answer
        ");
    }

    #[test]
    fn a_person_has_both_names() {
        assert_eq!(person(&someone(1, "ada", "Ada Lovelace")), "Ada Lovelace @ada");
        assert_eq!(person(&someone(1, "ada", "")), "@ada");
        assert_eq!(person(&someone(1, "ada", "ada")), "@ada");
    }

    #[test]
    fn whoever_decides_reads_what_comes_of_it() {
        let may = |approvals: Vec<Progress>| Verdict::MayConfirm { approvals, merge_request: None };
        let waits = Verdict::NeedsApprovals { approvals: vec![progress(&[ops()], 2, 1)] };
        let given = may(vec![progress(&[ops()], 2, 2)]);
        let rejected = Verdict::Rejected(review(Some("Not now.")));
        let away = Verdict::NotYet { why: "no answer.".to_owned() };
        let by = |reason: &str| {
            let (key, reason) = ("night shift".to_owned(), reason.to_owned());
            Verdict::Overridden(Override { key, reason })
        };
        let said = [
            not_confirmed(&waits),
            not_reviewed(&NotReviewer::NotAsked),
            reviewed(Decision::Approve, &waits, false),
            reviewed(Decision::Approve, &given, false),
            reviewed(Decision::Approve, &given, true),
            reviewed(Decision::Approve, &rejected, false),
            reviewed(Decision::Reject, &rejected, false),
            taken_back(&waits, false),
            taken_back(&given, true),
            confirmed(&may(vec![])),
            confirmed(&given),
            confirmed(&by("GitLab is\ndown.")),
            overriding("GitLab is down", None),
            overriding("GitLab is down", Some("Agreed with @ops.")),
            by_itself(&given),
            by_itself(&may(vec![])),
            reviewed(Decision::Approve, &away, false),
            lost_right(Some(Level::Developer), Level::Maintainer),
            lost_right(None, Level::Maintainer),
            right_unknown("gitlab.example did not answer within 30 s."),
        ];
        insta::assert_snapshot!(said.join("\n"), @"
        Waits for 1 of 2 approvals, by @ops
        This run needs no approvals
        Approved. It waits for 1 of 2 approvals, by @ops.
        Approved. 2 of 2 approvals by @ops.
        Approved. 2 of 2 approvals by @ops. Applying next.
        Approved. Rejected by Ada Lovelace @ada: Not now.
        Rejected. Nobody can confirm it until you approve it.
        Your rejection is taken back; you started this run or merged its change, so your approval does not count. It waits for 1 of 2 approvals, by @ops.
        Your rejection is taken back; you started this run or merged its change, so your approval does not count. 2 of 2 approvals by @ops. Applying next.
        Confirmed. Applying next.
        Confirmed. Applying next.
        Confirmed, overriding the rules: GitLab is down. Applying next.
        Overrides the rules: GitLab is down
        Overrides the rules: GitLab is down
        Agreed with @ops.
        Confirmed by itself: 2 of 2 approvals by @ops
        Confirmed by itself: no approvals are needed
        Approved. GitLab could not be asked who may confirm: no answer.
        In GitLab you are Developer in this project, and this requires Maintainer
        In GitLab you have no role in this project that shows you its code, and this requires Maintainer
        GitLab could not be asked for your rights: gitlab.example did not answer within 30 s. Nothing was applied.
        ");
    }

    #[test]
    fn a_comment_is_clean_and_not_too_long() {
        assert_eq!(comment(" yes,\r\n\u{1b}[1mgo\u{202e} "), Some("yes,\ngo".to_owned()));
        assert_eq!(comment(" \u{200b}\n"), None);
        let long = comment(&"x".repeat(5_000)).unwrap();
        assert_eq!(long.chars().count(), COMMENT_CHARS);
    }
}
