//! Whether a person still may confirm what they want to confirm. Settings knows what they were some
//! minutes ago; before anything is applied GitLab is asked again.

use super::Stacks;
use crate::trouble::gitlab_failure;
use gantry_domain::{
    AccessLevel, EventId, UserId,
    approval::{GroupReach, Person},
    comment::Place,
    rights::{Decision, Level, Levels, Of, Right, Who, decide},
    stack::Stack,
    text,
};
use gantry_gitlab::{Client, Error as GitlabError};
use gantry_queue::Failure;
use gantry_store::{
    config::{Person as Known, SignIn},
    keys,
};
use jiff::SignedDuration;

/// What settings keeps of a person is believed for so long.
const BELIEVED: SignedDuration = SignedDuration::from_mins(5);

/// What GitLab said of somebody.
struct Told {
    /// Their level in the stack's project.
    level: Option<Level>,
    /// At least Maintainer in one of the groups whose Maintainers are admins; none where that could
    /// not be seen.
    is_admin: Option<bool>,
}

impl Stacks<'_> {
    /// Why the person may not confirm runs of the stack now; none where they may. Who asks in a
    /// comment need not be able to sign in: the usual levels count then, and nobody is an admin.
    pub(super) async fn may_not_confirm(
        &self,
        stack: &Stack,
        person: &Person,
        request: &EventId,
    ) -> Result<Option<String>, Failure> {
        let (key, known) = (keys::sign_in(), keys::person(person.id));
        let (settings, known, integration) = futures::try_join!(
            self.deps.store.get::<SignIn>(&key),
            self.deps.store.get::<Known>(&known),
            self.deps.store.integration()
        )?;
        let generation = integration.map(|linked| linked.value.generation);
        let settings = settings.map(|found| found.value);
        let settings = settings.filter(|known| Some(known.generation) == generation);
        if settings.is_none() && Place::of_request(request).is_none() {
            return Ok(Some(text::approval::NOBODY_SIGNS_IN.to_owned()));
        }
        let usual = settings.as_ref().map_or_else(Levels::default, |known| known.levels);
        let levels = stack.settings.levels.over(&usual);
        let of = if stack.project().is_some() { Of::Project } else { Of::Elsewhere };
        let may = |admin: bool, level: Option<Level>| {
            decide(Who::Person { admin, level }, Right::Deploy, of, &levels) == Decision::Allowed
        };
        let reading = async {
            let client = self.deps.gitlab().await?;
            let level = match stack.project() {
                Some(project) => client.member_access_level(project, person.id).await,
                None => Ok(None),
            };
            let level = level.map_err(gitlab_failure)?.and_then(Level::reached_by);
            // Most people need not be admins.
            let is_admin = match &settings {
                Some(settings) if !may(false, level) => {
                    is_admin(&client, settings, person.id).await.map_err(gitlab_failure)?
                }
                _ => Some(false),
            };
            Ok::<_, Failure>(Told { level, is_admin })
        };
        let told = match Box::pin(self.in_time(reading)).await? {
            Ok(told) => told,
            Err(why) => return Ok(Some(text::approval::right_unknown(&why))),
        };
        // A group that Gantry's user in GitLab does not see, the person's own token has shown.
        let was_admin = known.map(|known| known.value).is_some_and(|known| {
            known.admin
                && Some(known.generation) == generation
                && self.deps.now().duration_since(known.read_at) < BELIEVED
        });
        if may(told.is_admin.unwrap_or(was_admin), told.level) {
            return Ok(None);
        }
        Ok(Some(match (stack.project(), levels.of(Right::Deploy)) {
            (Some(_), Some(needs)) => text::approval::lost_right(told.level, needs),
            _ => text::approval::ONLY_ADMINS.to_owned(),
        }))
    }
}

/// Whether the person is at least Maintainer in one of the groups of admins; none where they are in
/// none of those that are seen, and not all of them are.
async fn is_admin(
    client: &Client,
    settings: &SignIn,
    person: UserId,
) -> Result<Option<bool>, GitlabError> {
    let mut sees_all = true;
    for (path, known) in settings.groups_of_admins() {
        let Some(group) = client.group_meant(path, known).await? else {
            sees_all = false;
            continue;
        };
        let level = client.group_member_level(group.id, person, GroupReach::Inherited).await?;
        if level.is_some_and(|level| level >= AccessLevel::MAINTAINER) {
            return Ok(Some(true));
        }
    }
    Ok(sees_all.then_some(false))
}
