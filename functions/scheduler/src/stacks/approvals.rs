//! Who may confirm a run: what GitLab and the stack ask for. It is read anew each time that somebody
//! asks, and where GitLab cannot be read, nobody may yet.
//!
//! What it means is `domain::approval`'s.

use super::{Stacks, brought_in::brought_in};
use crate::{
    runs::Loaded,
    trouble::{gitlab_failure, in_words},
};
use anyhow::Error as AnyError;
use futures::{StreamExt as _, TryStreamExt as _};
use gantry_domain::{
    AccessLevel, CommitSha, GroupId, ProjectId, UserId,
    approval::{
        Approvals, Approver, Asker, BroughtIn, Decision, GroupReach, LastVerdict, Membership,
        NotReviewer, Person, Protected, Question, Review, Reviewed, Rule, Standing, Verdict, Who,
        may_review, verdict,
    },
    run::{Run, RunState},
    stack::Stack,
    text::{self, names::Prefix},
};
use gantry_gitlab::{AccessRule, Client, Error as GitlabError, MergeRequest, ProtectedEnvironment};
use gantry_queue::Failure;
use gantry_store::keys;
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How long all of it may take to be read together: somebody waits, and so do the reports of the
/// stack's runners.
const READING: Duration = Duration::from_secs(10);
/// How much of it is read side by side.
pub(super) const READS_AT_ONCE: usize = 8;
/// No person of GitLab's.
const NOBODY: UserId = UserId(0);

/// What somebody is who was not asked about.
static UNKNOWN: Standing = Standing { level: None, groups: Vec::new(), is_gitlab_admin: false };
static NOT_ASKED: BroughtIn = BroughtIn::NotAsked;

/// What decides about a run, as it was just read; or why it could not be, for people.
pub(super) struct Rules(Result<Read, String>);

/// What was read.
struct Read {
    protected: Option<Protected>,
    own: Option<Rule>,
    brought_in: BroughtIn,
    reviews: Vec<Reviewed>,
    made_by: Vec<UserId>,
    /// What those are now who were asked about.
    people: BTreeMap<UserId, Standing>,
}

impl Read {
    /// Nothing is asked for.
    fn nothing() -> Self {
        Self {
            protected: None,
            own: None,
            brought_in: BroughtIn::NotAsked,
            reviews: Vec::new(),
            made_by: Vec::new(),
            people: BTreeMap::new(),
        }
    }
}

impl Rules {
    /// Those that nobody looked at.
    pub(super) fn unread() -> Self {
        Self(Err("nobody has asked".to_owned()))
    }

    fn question<'a>(&'a self, asker: Asker<'a>) -> Question<'a> {
        match &self.0 {
            Ok(read) => Question {
                gitlab: Ok(read.protected.as_ref()),
                own: read.own.as_ref(),
                brought_in: Ok(&read.brought_in),
                reviews: &read.reviews,
                made_by: &read.made_by,
                asker,
            },
            Err(why) => Question {
                gitlab: Err(why.as_str()),
                own: None,
                brought_in: Ok(&NOT_ASKED),
                reviews: &[],
                made_by: &[],
                asker,
            },
        }
    }

    /// Whether the run may be confirmed by who asks.
    pub(super) fn verdict(&self, asker: Asker<'_>) -> Verdict {
        verdict(&self.question(asker))
    }

    /// Whether the person may approve or reject the run.
    pub(super) fn may_review(&self, by: &Person, decision: Decision) -> Result<(), NotReviewer> {
        may_review(&self.question(Asker::Anyone), by.id, self.standing(by.id), decision)
    }

    /// What somebody is who was asked about.
    pub(super) fn standing(&self, person: UserId) -> &Standing {
        let read = self.0.as_ref().ok();
        read.and_then(|read| read.people.get(&person)).unwrap_or(&UNKNOWN)
    }

    /// The same with a review of somebody who was asked about.
    pub(super) fn reviewed(&mut self, review: Review) {
        let standing = self.standing(review.by.id).clone();
        if let Ok(read) = &mut self.0 {
            read.reviews.retain(|before| before.review.by.id != review.by.id);
            read.reviews.push(Reviewed { review, standing });
        }
    }

    /// The same without what somebody has decided.
    pub(super) fn taken_back(&mut self, person: UserId) {
        if let Ok(read) = &mut self.0 {
            read.reviews.retain(|given| given.review.by.id != person);
        }
    }

    /// What is kept with the run for people.
    pub(super) fn last(&self, run: &Run, at: Timestamp) -> Option<LastVerdict> {
        let anyone = self.verdict(Asker::Anyone);
        match run.held {
            true => LastVerdict::of_held(&anyone, &self.verdict_by_itself(run), at),
            false => LastVerdict::of(&anyone, at),
        }
    }

    /// The same for a run that is to be applied without asking: whoever started it asks. Where nobody
    /// did, as after a push, it is not asked who may deploy. A key that did is no person to GitLab.
    fn verdict_by_itself(&self, run: &Run) -> Verdict {
        let starter =
            run.started_by.map(|id| Person { id, username: String::new(), name: String::new() });
        match (&starter, &run.by) {
            (Some(starter), _) => self.verdict(Asker::Person(starter, self.standing(starter.id))),
            (None, Some(_)) => self.verdict(Asker::Key),
            (None, None) => self.verdict(Asker::Anyone),
        }
    }
}

impl Stacks<'_> {
    /// What decides about the run now, and what this person is as far as that asks.
    pub(super) async fn rules(
        &self,
        stack: &Stack,
        run: &Run,
        asker: Option<UserId>,
    ) -> Result<Rules, Failure> {
        // Where the code is not at GitLab, nobody there says anything, and nobody is anybody.
        let Some(project) = stack.project() else {
            return Ok(Rules(match asks_by_itself(stack) {
                // No form lets a stack ask for it.
                true => Err("the stack's code is not in GitLab".to_owned()),
                false => Ok(Read::nothing()),
            }));
        };
        let starter = run.started_by.filter(|_| run.autodeploy);
        let asked: BTreeSet<UserId> = asker.into_iter().chain(starter).collect();
        let since = match stack.settings.require_merge_request_approval {
            true => self.applied_commit(stack).await?,
            false => None,
        };
        let reading = async {
            let client = self.deps.gitlab().await?;
            read(&client, stack, project, run, since.as_ref(), &asked).await
        };
        let read = Box::pin(self.in_time(reading)).await?;
        if let Err(why) = &read {
            tracing::warn!(run.id = %run.id, stack = %run.slug, "who may confirm is not known: {why}");
        }
        Ok(Rules(read))
    }

    /// What was asked of GitLab, or why it could not be, for people.
    pub(super) async fn in_time<T>(
        &self,
        reading: impl Future<Output = Result<T, Failure>>,
    ) -> Result<Result<T, String>, Failure> {
        let failure = match tokio::time::timeout(READING, Box::pin(reading)).await {
            Ok(Ok(read)) => {
                self.deps.note_health(None).await?;
                return Ok(Ok(read));
            }
            Ok(Err(failure)) => failure,
            Err(_) => {
                return Ok(Err(format!("GitLab did not answer within {} s", READING.as_secs())));
            }
        };
        self.deps.note_outage(&failure).await?;
        Ok(Err(in_words(&failure)))
    }

    /// The commit whose code is applied: a run applies what came after it. Before the first apply, the
    /// one at which the stack began.
    async fn applied_commit(&self, stack: &Stack) -> Result<Option<CommitSha>, Failure> {
        let Some(last) = self.runs.head(&stack.id).await?.value.last_applied else {
            return Ok(stack.begins_at.clone());
        };
        let run = self.deps.store.get::<Run>(&keys::run(&last.run)).await?;
        // Another project does not know the commits of the one that the stack was moved from.
        let is_of_another = run.is_some_and(|run| run.value.repository != stack.repository);
        Ok(if is_of_another { stack.begins_at.clone() } else { Some(last.commit) })
    }

    /// Whether runs that their stack applies without asking wait all the same: something is asked for
    /// before they may be applied, or that is not known.
    pub(super) async fn holds(&self, stack: &Stack) -> Result<bool, Failure> {
        if asks_by_itself(stack) {
            return Ok(true);
        }
        let Some(project) = stack.project() else { return Ok(false) };
        let reading = async {
            let client = self.deps.gitlab().await?;
            protection(&client, stack, project).await
        };
        Ok(match Box::pin(self.in_time(reading)).await? {
            Ok(protected) => protected.is_some(),
            Err(why) => {
                tracing::warn!(stack = %stack.slug, "whether it may be applied at once is not known: {why}");
                true
            }
        })
    }

    /// Reads the rules for a run that has just come to need confirmation, or waits for it, and goes by
    /// them.
    pub(super) async fn ask_rules(
        &self,
        loaded: &mut Loaded,
        run: &mut Run,
    ) -> Result<(), Failure> {
        if run.state != RunState::Unconfirmed {
            return Ok(());
        }
        let Some(stack) = self.runnable(&run.stack).await? else { return Ok(()) };
        loaded.timeouts = Some(stack.settings.timeouts);
        let rules = Box::pin(self.rules(&stack, run, None)).await?;
        self.go_by(&rules, loaded, run)
    }

    /// Keeps with an unconfirmed run what the rules come to, and confirms one that goes on by itself
    /// where they let it. What somebody asked to stop, and what a block keeps, waits for a person.
    pub(super) fn go_by(
        &self,
        rules: &Rules,
        loaded: &Loaded,
        run: &mut Run,
    ) -> Result<(), Failure> {
        let now = self.deps.now();
        run.keep_verdict(rules.last(run, now));
        if !run.held {
            return Ok(());
        }
        let by_itself = rules.verdict_by_itself(run);
        let is_blocked = loaded.head.as_ref().is_some_and(|head| head.value.blocked.is_some());
        if run.goes_on_by_itself(&by_itself) && !is_blocked {
            run.confirm(now, None, Some(text::approval::by_itself(&by_itself)))?;
        }
        Ok(())
    }
}

/// The stack asks for something by itself, whatever GitLab does.
fn asks_by_itself(stack: &Stack) -> bool {
    stack.settings.approvals.is_some() || stack.settings.require_merge_request_approval
}

/// All that decides about the run, and what those are now who have reviewed it, and these.
async fn read(
    client: &Client,
    stack: &Stack,
    project: ProjectId,
    run: &Run,
    since: Option<&CommitSha>,
    asked: &BTreeSet<UserId>,
) -> Result<Read, Failure> {
    let settings = &stack.settings;
    let protected = protection(client, stack, project).await?;
    let own = match &settings.approvals {
        Some(asked) => Some(own_rule(client, asked).await?),
        None => None,
    };
    let protections = protected.as_ref().map(|protected| protected.protections.as_slice());
    let protections = protections.unwrap_or_default();
    let approving = protections.iter().flat_map(|protection| &protection.approvals).chain(&own);
    let approvers: Vec<&Who> = approving.flat_map(|rule| &rule.who).collect();
    let deployers: Vec<&Who> =
        protections.iter().flat_map(|protection| &protection.may_deploy).collect();
    let needs_approvals = !approvers.is_empty();
    let merge_request = match needs_approvals || settings.require_merge_request_approval {
        true => client
            .merge_request_of_commit(project, &run.commit, &run.tracked_branch)
            .await
            .map_err(gitlab_failure)?,
        false => None,
    };
    let brought_in = match settings.require_merge_request_approval {
        true => {
            let found = merge_request.as_ref();
            Box::pin(brought_in(client, project, run, found, since)).await?
        }
        false => BroughtIn::NotAsked,
    };
    let merger = merge_request.as_ref().and_then(MergeRequest::merger).map(|user| user.id);
    let made_by = run.started_by.into_iter().chain(merger).filter(|_| needs_approvals).collect();
    // Whoever asks may have to be one who deploys, whoever has reviewed it one who approves.
    let of_reviewers = groups_in(approvers.iter().copied());
    let of_asked = groups_in(approvers.iter().chain(&deployers).copied());
    let reviewers = run.reviews.iter().map(|review| review.by.id).filter(|_| needs_approvals);
    let mut people: BTreeMap<UserId, &Groups> =
        reviewers.map(|person| (person, &of_reviewers)).collect();
    if needs_approvals || protected.is_some() {
        people.extend(asked.iter().map(|person| (*person, &of_asked)));
    }
    let reads: Vec<_> = people
        .into_iter()
        .map(|(person, groups)| standing(client, project, person, groups))
        .collect();
    let people: BTreeMap<UserId, Standing> =
        futures::stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await?;
    let reviewed = |review: &Review| {
        let standing = people.get(&review.by.id).unwrap_or(&UNKNOWN).clone();
        Reviewed { review: review.clone(), standing }
    };
    let reviews = run.reviews.iter().map(reviewed).collect();
    Ok(Read { protected, own, brought_in, reviews, made_by, people })
}

/// How GitLab protects the stack's environment; none where it does not.
async fn protection(
    client: &Client,
    stack: &Stack,
    project: ProjectId,
) -> Result<Option<Protected>, Failure> {
    let environment = Prefix::default().environment(&stack.slug);
    let found = client.project(project).await.map_err(gitlab_failure)?;
    let protection =
        client.protected_environment(&found, &environment).await.map_err(gitlab_failure)?;
    let Some(protection) = protection else { return Ok(None) };
    let names = names_in(client, &protection).await;
    let shown = |rule: &AccessRule| match (rule.user_id, rule.group_id) {
        (Some(user), _) => names.users.get(&user).cloned(),
        (None, Some(group)) => names.groups.get(&group).cloned(),
        (None, None) => None,
    };
    Ok(Some(Protected {
        environment,
        protections: vec![protection.protection(shown)],
        allows_own_approval: found.allow_pipeline_trigger_approve_deployment.unwrap_or(false),
    }))
}

/// How people read of users and groups, as far as that could be read: `@ada`, `@acme/ops`.
struct Names {
    users: BTreeMap<UserId, String>,
    groups: BTreeMap<GroupId, String>,
}

async fn names_in(client: &Client, protection: &ProtectedEnvironment) -> Names {
    let approvals = protection.approval_rules.iter().map(|rule| &rule.who);
    let rules: Vec<&AccessRule> = protection.deploy_access_levels.iter().chain(approvals).collect();
    let users: BTreeSet<UserId> = rules.iter().filter_map(|rule| rule.user_id).collect();
    let groups: BTreeSet<GroupId> = rules.iter().filter_map(|rule| rule.group_id).collect();
    let users: Vec<_> = users.into_iter().map(|user| user_name(client, user)).collect();
    let groups: Vec<_> = groups.into_iter().map(|group| group_name(client, group)).collect();
    let users = futures::stream::iter(users).buffered(READS_AT_ONCE).collect::<Vec<_>>();
    let groups = futures::stream::iter(groups).buffered(READS_AT_ONCE).collect::<Vec<_>>();
    let (users, groups) = futures::join!(users, groups);
    Names {
        users: users.into_iter().flatten().collect(),
        groups: groups.into_iter().flatten().collect(),
    }
}

async fn user_name(client: &Client, user: UserId) -> Option<(UserId, String)> {
    let found = client.user(user).await.ok()??;
    Some((user, format!("@{}", found.username)))
}

async fn group_name(client: &Client, group: GroupId) -> Option<(GroupId, String)> {
    let found = client.group(group).await.ok()?;
    Some((group, format!("@{}", found.full_path)))
}

/// The approvals that the stack asks for by itself. A name that GitLab does not have is nobody's: its
/// approval is never given, and people read why.
async fn own_rule(client: &Client, asked: &Approvals) -> Result<Rule, Failure> {
    let found: Vec<_> = asked.from.iter().map(|approver| whom_it_means(client, approver)).collect();
    let who = futures::stream::iter(found).buffered(READS_AT_ONCE).try_collect().await?;
    Ok(Rule { who, required: asked.required.get() })
}

async fn whom_it_means(client: &Client, approver: &Approver) -> Result<Who, Failure> {
    match approver {
        Approver::Role(level) => Ok(Who::Role(*level)),
        Approver::Named(path) => named(client, path).await,
    }
}

/// A user, or the direct members of a group.
async fn named(client: &Client, path: &str) -> Result<Who, Failure> {
    let shown = format!("@{path}");
    // What lies in a group is no user.
    if !path.contains('/')
        && let Some(user) = client.user_by_name(path).await.map_err(gitlab_failure)?
    {
        return Ok(Who::User { id: user.id, shown });
    }
    Ok(match client.group_by_path(path).await.map_err(gitlab_failure)? {
        Some(group) => Who::Group { id: group.id, reach: GroupReach::Direct, shown },
        None => Who::User { id: NOBODY, shown: format!("{shown} (not found in GitLab)") },
    })
}

/// The groups that rules name.
type Groups = BTreeMap<GroupId, NamedGroup>;

/// A group, and which of its members rules mean.
struct NamedGroup {
    direct: bool,
    inherited: bool,
    shown: String,
}

fn groups_in<'a>(all: impl Iterator<Item = &'a Who>) -> Groups {
    let mut groups = Groups::new();
    for who in all {
        let Who::Group { id, reach, shown } = who else { continue };
        let group = groups.entry(*id).or_insert_with(|| NamedGroup {
            direct: false,
            inherited: false,
            shown: shown.clone(),
        });
        match reach {
            GroupReach::Direct => group.direct = true,
            GroupReach::Inherited => group.inherited = true,
        }
    }
    groups
}

/// What somebody is now, as far as the rules ask.
async fn standing(
    client: &Client,
    project: ProjectId,
    person: UserId,
    groups: &Groups,
) -> Result<(UserId, Standing), Failure> {
    let level = client.member_access_level(project, person).await.map_err(gitlab_failure)?;
    let mut found = Standing { level: level.map(AccessLevel), ..Standing::default() };
    for (id, group) in groups {
        found.groups.extend(membership(client, *id, group, person).await?);
    }
    Ok((person, found))
}

async fn membership(
    client: &Client,
    group: GroupId,
    named: &NamedGroup,
    person: UserId,
) -> Result<Option<Membership>, Failure> {
    for (is_asked, is_direct, reach) in
        [(named.direct, true, GroupReach::Direct), (named.inherited, false, GroupReach::Inherited)]
    {
        if !is_asked {
            continue;
        }
        let level = client.group_member_level(group, person, reach).await;
        if let Some(level) = level.map_err(|error| unseen(error, &named.shown))? {
            return Ok(Some(Membership { group, level, is_direct }));
        }
    }
    Ok(None)
}

/// The members of a group cannot be read.
fn unseen(error: GitlabError, group: &str) -> Failure {
    match error.is_refusal() {
        true => AnyError::new(error)
            .context(format!("Gantry's user in GitLab cannot see who belongs to {group}"))
            .into(),
        false => gitlab_failure(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_domain::approval::{Origin, Protection};

    fn group(id: u64, reach: GroupReach) -> Who {
        Who::Group { id: GroupId(id), reach, shown: format!("@group{id}") }
    }

    #[test]
    fn each_group_is_asked_for_those_of_its_members_whom_some_rule_means() {
        let all = [
            group(3, GroupReach::Inherited),
            Who::Role(AccessLevel::MAINTAINER),
            group(3, GroupReach::Direct),
            group(4, GroupReach::Direct),
            Who::User { id: UserId(5), shown: "@ada".to_owned() },
        ];
        let found: Vec<_> = groups_in(all.iter())
            .into_iter()
            .map(|(id, named)| (id.0, named.direct, named.inherited, named.shown))
            .collect();
        let expected =
            [(3, true, true, "@group3".to_owned()), (4, true, false, "@group4".to_owned())];
        assert_eq!(found, expected);
    }

    fn rules(change: impl FnOnce(&mut Read)) -> Rules {
        let mut read = Read::nothing();
        change(&mut read);
        Rules(Ok(read))
    }

    fn protected() -> Protected {
        let protection = Protection {
            origin: Origin::Project,
            may_deploy: vec![Who::User { id: UserId(7), shown: "@ada".to_owned() }],
            approvals: vec![],
        };
        Protected {
            environment: "gantry/network".to_owned(),
            protections: vec![protection],
            allows_own_approval: false,
        }
    }

    #[test]
    fn a_run_goes_on_by_itself_for_whoever_started_it() {
        let golden = include_str!("../../../../shared/store/golden/v1/run-reviewed.json");
        let run: Run = serde_json::from_str(golden).unwrap();
        let deploys = |id: u64| {
            rules(|read| {
                read.protected = Some(protected());
                let standing =
                    Standing { level: Some(AccessLevel::DEVELOPER), ..Standing::default() };
                read.people.insert(UserId(id), standing);
            })
        };
        let goes_on = |rules: &Rules, started_by: Option<u64>, by: Option<&str>| {
            let run = Run {
                started_by: started_by.map(UserId),
                by: by.map(str::to_owned),
                ..run.clone()
            };
            matches!(rules.verdict_by_itself(&run), Verdict::MayConfirm { .. })
        };
        assert!(goes_on(&deploys(7), Some(7), Some("Ada @ada")), "she may deploy");
        assert!(!goes_on(&deploys(8), Some(8), Some("Bob @bob")));
        assert!(!goes_on(&deploys(8), Some(7), Some("Ada @ada")), "nobody asked about her");
        assert!(!goes_on(&deploys(7), None, Some("a key")), "GitLab knows no key");
        assert!(goes_on(&deploys(7), None, None), "a push: who may deploy is not asked");
        assert!(!goes_on(&Rules(Err("503".to_owned())), None, None));
    }
}
