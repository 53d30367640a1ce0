//! Whether a tracked run may be confirmed now, and who may approve or reject it.
//!
//! Three things decide: what GitLab protects the run's environment with, the approvals that the
//! stack asks for by itself, and whether the commit came in with an approved merge request. Where
//! several of them ask for something, all must hold. What a role may do in Gantry is not asked
//! here.
//!
//! GitLab enforces its rules for its own jobs only, so they are followed here as GitLab follows
//! them (its pages *Protected environments* and *Deployment approvals*, and its sources below
//! `ee/app`: `models/protected_environments/authorizable.rb`, `models/ee/environment.rb`,
//! `services/deployments/approval_service.rb`, `policies/ee/deployment_policy.rb`):
//!
//! - A rule means a user, a group, or everybody with at least a role. A group's direct members are
//!   meant, unless the rule says that inherited ones are too. GitLab's administrators are meant by
//!   every rule.
//! - One of the entries that may deploy is enough. Where the project protects the environment and a
//!   group protects its tier, both must allow it.
//! - Who approves needs a rule that means them and may read deployments (Reporter), but need not be
//!   allowed to deploy: so the sources. The page says that who approves must be allowed to deploy
//!   (unconfirmed which of both holds in the newest versions).
//! - A person gives one approval for a deployment, which counts for one rule, also where several
//!   mean them: so the page. GitLab takes the first such rule, or the one that the person names
//!   (`represented_as`); here approvals are dealt out so that as many rules as possible are
//!   satisfied. The newest sources would let a person approve for a second rule too (a record for
//!   each person and rule); that is not followed.
//! - Whoever triggered the deployment may not approve it unless the project allows it
//!   (`allow_pipeline_trigger_approve_deployment`), and may reject it. That a person who merged the
//!   change counts as one who triggered it is Gantry's.
//! - One rejection ends GitLab's deployment. Here it stands until the same person decides otherwise:
//!   GitLab too keeps one decision of a person, the last.
//! - GitLab counts an approval under the rule for which it was given, whatever its giver is
//!   afterwards. Here the giver must still be meant: who has lost a right gives it no more.
//! - Before GitLab 17.0 an environment could ask for a number of approvals without saying whose
//!   (`required_approval_count`): of those who may deploy. Newer servers leave such a number alone;
//!   here it counts where there are no rules, because the other mistake would be the worse one.

mod assign;
mod last;
mod settings;
#[cfg(test)]
mod tests;

pub use last::{LastVerdict, VerdictState};
pub use settings::{Approvals, Approver, Approvers, RequiredApprovals};

use crate::{AccessLevel, CommitSha, GroupId, MergeRequestIid, UserId};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A person at GitLab. Their names may change, their id never does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Reviewer")]
pub struct Person {
    /// GitLab's id.
    pub id: UserId,
    /// The user name, without `@`.
    pub username: String,
    /// The name that people see.
    pub name: String,
}

/// What a person decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[schemars(rename = "ReviewDecision")]
pub enum Decision {
    /// The run may be applied.
    Approve,
    /// The run must not be applied.
    Reject,
}

/// A review of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RunReview")]
pub struct Review {
    /// Who gave it.
    pub by: Person,
    /// What they decided.
    pub decision: Decision,
    /// What they said about it.
    pub comment: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// What a person is at GitLab as far as rules ask, as it was looked up just now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Their role in the project, however they got it; none for somebody who is no member.
    pub level: Option<AccessLevel>,
    /// Which of the groups that rules name they belong to.
    pub groups: Vec<Membership>,
    /// An administrator of the GitLab server; false where that is not known.
    pub is_gitlab_admin: bool,
}

/// That a person belongs to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// The group.
    pub group: GroupId,
    /// Their role in it, however they got it.
    pub level: AccessLevel,
    /// They are a member of the group itself, not only of one above it or invited to it.
    pub is_direct: bool,
}

/// Which members of a group are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupReach {
    /// Those of the group itself.
    Direct,
    /// Those of groups above it, and of groups that were invited to it, too.
    Inherited,
}

/// Whom a rule means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Everybody with at least this role in what the rule belongs to.
    Role(AccessLevel),
    /// One person.
    User {
        /// GitLab's id.
        id: UserId,
        /// How people read of them: `@ada`.
        shown: String,
    },
    /// The members of a group.
    Group {
        /// GitLab's id.
        id: GroupId,
        /// Which of them.
        reach: GroupReach,
        /// How people read of it: `@acme/ops`.
        shown: String,
    },
}

/// How many approvals are asked for, and whose count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Each of these.
    pub who: Vec<Who>,
    /// How many approvals.
    pub required: u32,
}

/// Where a rule comes from, and so in what a role is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The project at GitLab, which protects the environment.
    Project,
    /// A group above the project, which protects all environments of a tier.
    Group(GroupId),
    /// The stack's own settings.
    Stack,
}

/// One protection of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protection {
    /// What protects it: never [`Origin::Stack`].
    pub origin: Origin,
    /// Who may deploy: one of these is enough, and without any nobody may.
    pub may_deploy: Vec<Who>,
    /// Which approvals are needed first, all of them.
    pub approvals: Vec<Rule>,
}

/// What GitLab protects an environment with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protected {
    /// The environment's name.
    pub environment: String,
    /// The protections, which must all hold.
    pub protections: Vec<Protection>,
    /// The project's *Allow pipeline triggerer to approve deployment*.
    pub allows_own_approval: bool,
}

/// What is known of the merge request that brought a run's commit into the branch, and of those that
/// brought in what is applied with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BroughtIn {
    /// It is of no interest: the stack does not ask for an approved one.
    NotAsked,
    /// It was approved, and so were the others.
    Approved(MergeRequestIid),
    /// It was not.
    NotApproved(MergeRequestIid),
    /// The commit came without one.
    WithoutMergeRequest,
    /// It was, and something that came since the last apply is in the way.
    Beside(Beside),
}

/// What else came into the branch since the stack was applied last: a run applies all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beside {
    /// A commit came without a merge request, or with this one, which was not approved.
    NotApproved {
        /// The commit.
        commit: CommitSha,
        /// What it came with.
        merge_request: Option<MergeRequestIid>,
    },
    /// More commits than this came: they were not looked at.
    TooMany(usize),
    /// GitLab does not tell what came after this commit.
    Unknown(CommitSha),
}

/// A review, and what its giver is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reviewed {
    /// The review.
    pub review: Review,
    /// What its giver is now.
    pub standing: Standing,
}

/// That the rules do not count for once. It stands in the activity and on the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// The name of the admin's key.
    pub key: String,
    /// The reason that was given.
    pub reason: String,
}

/// Who asks whether the run may be confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker<'a> {
    /// Nobody in particular: what statuses and comments say. Who may deploy is not asked then.
    Anyone,
    /// A person; for a run that is applied without asking, whoever started it.
    Person(&'a Person, &'a Standing),
    /// A key that is no person's: GitLab does not know it.
    Key,
    /// An admin's key, past the rules. Without a reason it is a key like any other.
    Override(&'a Override),
}

/// All that decides about one run. What GitLab says is an error, with the reason for people, where
/// it could not be read.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// How GitLab protects the environment; none where it does not.
    pub gitlab: Result<Option<&'a Protected>, &'a str>,
    /// The approvals that the stack asks for.
    pub own: Option<&'a Rule>,
    /// How the commit, and what is applied with it, came in.
    pub brought_in: Result<&'a BroughtIn, &'a str>,
    /// All reviews so far, in any order.
    pub reviews: &'a [Reviewed],
    /// Who started the run, and who merged its change. Who pushed a change without a merge request is
    /// not known: what Git tells of authors, anybody can write.
    pub made_by: &'a [UserId],
    /// Who asks.
    pub asker: Asker<'a>,
}

/// How far the approvals of one rule are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Where the rule comes from.
    pub origin: Origin,
    /// Whose approvals count.
    pub who: Vec<Who>,
    /// How many are asked for.
    pub required: u32,
    /// Whose were counted, the earliest first.
    pub given: Vec<Person>,
}

impl Progress {
    /// How many approvals are still to be given.
    pub fn missing(&self) -> u32 {
        self.required.saturating_sub(self.given.len() as u32)
    }
}

/// Why a run may not be confirmed, however many approve it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotAllowed {
    /// GitLab does not let the person deploy.
    MayNotDeploy {
        /// The environment.
        environment: String,
        /// Who may.
        who: Vec<Who>,
    },
    /// GitLab knows no key of Gantry's.
    NoPerson {
        /// The environment.
        environment: String,
        /// Who may deploy.
        who: Vec<Who>,
    },
    /// The stack asks for an approved merge request, and this one was not.
    MergeRequestNotApproved(MergeRequestIid),
    /// The stack asks for an approved merge request, and there was none.
    WithoutMergeRequest,
    /// The same of what would be applied with it.
    Beside(Beside),
}

/// Whether a run may be confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may be, by whoever asks.
    MayConfirm {
        /// The approvals that were asked for, and given.
        approvals: Vec<Progress>,
        /// The approved merge request, where one was asked for.
        merge_request: Option<MergeRequestIid>,
    },
    /// It may be, although nobody looked at the rules.
    Overridden(Override),
    /// Approvals are missing.
    NeedsApprovals {
        /// All that are asked for, those given included.
        approvals: Vec<Progress>,
    },
    /// It may not be, at least not by whoever asks.
    NotAllowed(NotAllowed),
    /// It cannot be told now: GitLab could not be read.
    NotYet {
        /// Why, for people.
        why: String,
    },
    /// Somebody has rejected it.
    Rejected(Review),
}

/// Why somebody may not give a review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotReviewer {
    /// Nothing asks for approvals.
    NotAsked,
    /// No rule means them.
    NotMeant {
        /// Whom the rules mean.
        who: Vec<Who>,
    },
    /// They started the run or merged its change.
    OwnRun,
    /// It cannot be told now: GitLab could not be read.
    NotYet {
        /// Why, for people.
        why: String,
    },
}

/// Whether the run may be confirmed by who asks.
///
/// What comes first: an override, what cannot be read, a rejection, the merge request, missing
/// approvals, and then whether the person may deploy. So who may not deploy still reads that their
/// approval is missing.
pub fn verdict(asked: &Question<'_>) -> Verdict {
    if let Asker::Override(by) = asked.asker
        && !by.reason.trim().is_empty()
    {
        return Verdict::Overridden(by.clone());
    }
    let (protected, brought_in) = match (asked.gitlab, asked.brought_in) {
        (Ok(protected), Ok(brought_in)) => (protected, brought_in),
        (Err(why), _) | (_, Err(why)) => return Verdict::NotYet { why: why.to_owned() },
    };
    let rules = rules(protected, asked.own);
    let decided = last_decisions(asked.reviews);
    let counts =
        |given: &Reviewed| rules.iter().any(|held| held.means(given.review.by.id, &given.standing));
    let rejects = |given: &&&Reviewed| given.review.decision == Decision::Reject && counts(given);
    if let Some(given) = decided.iter().find(rejects) {
        return Verdict::Rejected(given.review.clone());
    }
    let merge_request = match brought_in {
        BroughtIn::NotAsked => None,
        BroughtIn::Approved(iid) => Some(*iid),
        BroughtIn::NotApproved(iid) => {
            return Verdict::NotAllowed(NotAllowed::MergeRequestNotApproved(*iid));
        }
        BroughtIn::WithoutMergeRequest => {
            return Verdict::NotAllowed(NotAllowed::WithoutMergeRequest);
        }
        BroughtIn::Beside(why) => return Verdict::NotAllowed(NotAllowed::Beside(why.clone())),
    };
    let approvals = progress(&rules, &decided, asked.made_by);
    if approvals.iter().any(|progress| progress.missing() > 0) {
        return Verdict::NeedsApprovals { approvals };
    }
    match protected.and_then(|protected| refusal(protected, asked.asker)) {
        Some(why) => Verdict::NotAllowed(why),
        None => Verdict::MayConfirm { approvals, merge_request },
    }
}

/// Whether a person may approve or reject the run; who asks in the question does not matter. Who
/// has decided before may decide again: the last decision counts.
pub fn may_review(
    asked: &Question<'_>,
    person: UserId,
    standing: &Standing,
    decision: Decision,
) -> Result<(), NotReviewer> {
    let protected = asked.gitlab.map_err(|why| NotReviewer::NotYet { why: why.to_owned() })?;
    let rules = rules(protected, asked.own);
    if rules.is_empty() {
        return Err(NotReviewer::NotAsked);
    }
    let meant: Vec<&Held<'_>> = rules.iter().filter(|held| held.means(person, standing)).collect();
    if meant.is_empty() {
        return Err(NotReviewer::NotMeant { who: all_of(rules.iter().map(|held| held.rule)) });
    }
    let is_own = decision == Decision::Approve && asked.made_by.contains(&person);
    match is_own && meant.iter().all(|held| !held.allows_own) {
        true => Err(NotReviewer::OwnRun),
        false => Ok(()),
    }
}

/// A rule with what is known of it from where it comes.
struct Held<'a> {
    origin: Origin,
    allows_own: bool,
    rule: &'a Rule,
}

impl Held<'_> {
    fn means(&self, person: UserId, standing: &Standing) -> bool {
        standing.is_meant_by(&self.rule.who, person, self.origin)
    }
}

/// Each rule about approvals: GitLab's, then the stack's.
fn rules<'a>(protected: Option<&'a Protected>, own: Option<&'a Rule>) -> Vec<Held<'a>> {
    let of_gitlab = protected.into_iter().flat_map(|protected| {
        let allows_own = protected.allows_own_approval;
        protected.protections.iter().flat_map(move |protection| {
            let origin = protection.origin;
            protection.approvals.iter().map(move |rule| Held { origin, allows_own, rule })
        })
    });
    let of_stack = own.map(|rule| Held { origin: Origin::Stack, allows_own: false, rule });
    of_gitlab.chain(of_stack).collect()
}

/// The last decision of each person, the earliest first.
fn last_decisions(reviews: &[Reviewed]) -> Vec<&Reviewed> {
    let mut sorted: Vec<&Reviewed> = reviews.iter().collect();
    sorted.sort_by_key(|given| given.review.at);
    let is_last = |at: usize| {
        let by = sorted[at].review.by.id;
        sorted[at + 1..].iter().all(|later| later.review.by.id != by)
    };
    (0..sorted.len()).filter(|&at| is_last(at)).map(|at| sorted[at]).collect()
}

/// How far each rule is. An approval counts for one of GitLab's rules, and for the stack's own.
fn progress(rules: &[Held<'_>], decided: &[&Reviewed], made_by: &[UserId]) -> Vec<Progress> {
    let given: Vec<&Reviewed> = decided
        .iter()
        .copied()
        .filter(|given| given.review.decision == Decision::Approve)
        .collect();
    let is_own = |held: &Held<'_>| held.origin == Origin::Stack;
    let (of_stack, of_gitlab): (Vec<&Held<'_>>, Vec<_>) =
        rules.iter().partition(|held| is_own(held));
    let mut all = counted(&of_gitlab, &given, made_by);
    all.extend(counted(&of_stack, &given, made_by));
    all
}

/// How far these rules are, where an approval counts for one of them.
fn counted(rules: &[&Held<'_>], given: &[&Reviewed], made_by: &[UserId]) -> Vec<Progress> {
    let counts = |held: &Held<'_>, given: &Reviewed| {
        let by = given.review.by.id;
        held.means(by, &given.standing) && (held.allows_own || !made_by.contains(&by))
    };
    let may: Vec<Vec<usize>> = given
        .iter()
        .map(|given| (0..rules.len()).filter(|&at| counts(rules[at], given)).collect())
        .collect();
    let room: Vec<usize> = rules.iter().map(|held| held.rule.required as usize).collect();
    let placed = assign::assign(&may, &room);
    let of = |at: usize| {
        let here = given.iter().zip(&placed).filter(move |(_, place)| **place == Some(at));
        here.map(|(given, _)| given.review.by.clone()).collect()
    };
    rules
        .iter()
        .enumerate()
        .map(|(at, held)| Progress {
            origin: held.origin,
            who: held.rule.who.clone(),
            required: held.rule.required,
            given: of(at),
        })
        .collect()
}

/// Why GitLab would not let who asks deploy; none where it would.
fn refusal(protected: &Protected, asker: Asker<'_>) -> Option<NotAllowed> {
    let environment = || protected.environment.clone();
    match asker {
        Asker::Person(person, standing) => {
            let may = |protection: &&Protection| {
                standing.is_meant_by(&protection.may_deploy, person.id, protection.origin)
            };
            let refused = protected.protections.iter().find(|protection| !may(protection))?;
            let who = refused.may_deploy.clone();
            Some(NotAllowed::MayNotDeploy { environment: environment(), who })
        }
        Asker::Key | Asker::Override(_) => {
            let who = protected.protections.first()?.may_deploy.clone();
            Some(NotAllowed::NoPerson { environment: environment(), who })
        }
        Asker::Anyone => None,
    }
}

/// Whom some rules mean, each once.
fn all_of<'a>(rules: impl Iterator<Item = &'a Rule>) -> Vec<Who> {
    let mut all: Vec<Who> = Vec::new();
    for who in rules.flat_map(|rule| &rule.who) {
        if !all.contains(who) {
            all.push(who.clone());
        }
    }
    all
}

impl Standing {
    /// Whether one of these means the person. Who cannot read the project's deployments is meant by
    /// none; GitLab's administrators are by all of GitLab's.
    fn is_meant_by(&self, who: &[Who], person: UserId, origin: Origin) -> bool {
        if self.is_gitlab_admin && origin != Origin::Stack {
            return true;
        }
        self.level >= Some(AccessLevel::REPORTER)
            && who.iter().any(|who| self.is(who, person, origin))
    }

    fn is(&self, who: &Who, person: UserId, origin: Origin) -> bool {
        match who {
            Who::Role(needed) => {
                let level = match origin {
                    Origin::Project | Origin::Stack => self.level,
                    Origin::Group(group) => self.in_group(group).map(|found| found.level),
                };
                *needed > AccessLevel::NO_ONE && level >= Some(*needed)
            }
            Who::User { id, .. } => *id == person,
            Who::Group { id, reach, .. } => self.in_group(*id).is_some_and(|found| {
                found.level >= AccessLevel::GUEST
                    && (found.is_direct || *reach == GroupReach::Inherited)
            }),
        }
    }

    fn in_group(&self, group: GroupId) -> Option<&Membership> {
        self.groups.iter().find(|found| found.group == group)
    }
}
