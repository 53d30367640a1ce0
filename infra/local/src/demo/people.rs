//! The story's people: they sign in with GitLab; one approves a deploy, and another confirms it.

use super::{
    World,
    browser::Browser,
    say,
    story::{PATIENCE, array, look, seen, status, succeeded, text, tracked_run},
};
use anyhow::{Context as _, bail};
use gantry_fake_gitlab::{Allowed, MergeRequestIid, Person, ProtectedEnvironment};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Whose approval GitLab asks for.
const REVIEWER: &str = "ada";
/// A Maintainer.
const YOU: &str = "you";

/// A deploy that waits for people.
struct Waiting {
    run: String,
    commit: String,
    /// Its page, for somebody who has not signed in.
    link: String,
}

/// People sign in; a merge is deployed once one of them has approved it.
pub(super) async fn tell(
    world: &World,
    you: &Person,
    merge_request: MergeRequestIid,
) -> anyhow::Result<()> {
    let_sign_in(world).await?;
    let waiting = merge_protected(world, you, merge_request).await?;
    approve(world, &waiting).await?;
    confirm(world, &waiting).await
}

async fn let_sign_in(world: &World) -> anyhow::Result<()> {
    world.step(
        "Let people sign in with GitLab: an OAuth application there, its ID and secret here \
         (PUT /api/v1/sign-in)",
    );
    let needs = world.api.get("/sign-in").await?;
    let redirect = text(&needs, "/redirect_uri");
    let scopes: Vec<&str> = array(&needs, "/scopes").iter().filter_map(Value::as_str).collect();
    let application = world
        .gitlab
        .create_application("Gantry", &redirect, &scopes.join(" "), true)
        .map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
    let body = json!({
        "application_id": application.application_id, "secret": application.secret,
    });
    let set_up = world.api.put("/sign-in", &body).await?;
    if set_up["offered"] != true {
        bail!("nobody can sign in: {set_up}");
    }
    seen(
        "GitLab accepts the application; what somebody may do with a stack follows from their role \
         in its project",
    );
    look(&format!("{}/sign-in", world.gantry));
    Ok(())
}

/// Merges into a branch that is deployed to a protected environment.
async fn merge_protected(
    world: &World,
    you: &Person,
    merge_request: MergeRequestIid,
) -> anyhow::Result<Waiting> {
    world.step(
        "In GitLab, protect the environment gantry/platform: Maintainers deploy, after 1 approval \
         by ada. Merge \"More nodes\"",
    );
    let ada = world.gitlab.create_user(REVIEWER);
    world.gitlab.set_member(world.platform, ada, 30);
    let protected = ProtectedEnvironment {
        approval_rules: vec![(Allowed::User(ada), 1)],
        ..ProtectedEnvironment::new("gantry/platform", vec![Allowed::Role(40)])
    };
    world
        .gitlab
        .configure(world.platform, |options| options.protected_environments.push(protected));
    you.merge(world.platform, merge_request).map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
    let commit = world.gitlab.head(world.platform, "main").context("main no longer exists")?;
    let waits = status(world, world.platform, &commit, "gantry/platform", |status| {
        let said = status.description.as_deref();
        said.is_some_and(|said| said.contains("applied once approved and confirmed"))
    })
    .await?;
    let run = tracked_run(world, "platform", &commit).await?;
    let found = world.api.get(&format!("/runs/{run}")).await?;
    let rules = text(&found, "/approval/message");
    if !rules.contains("1 approval, by @ada") {
        bail!("the run does not wait for an approval: {found}");
    }
    seen(&format!("gantry/platform: {}; it {rules}", waits.description.unwrap_or_default()));
    let link = waits.target_url.unwrap_or_default();
    look(&link);
    Ok(Waiting { run, commit, link })
}

async fn approve(world: &World, waiting: &Waiting) -> anyhow::Result<()> {
    world.step("Ada signs in with GitLab, and approves the plan on the run's page");
    let ada = Browser::sign_in(&world.gantry, REVIEWER).await?;
    let stacks = ada.page("/").await?;
    if !stacks.contains("stacks/platform") || stacks.contains("stacks/network") {
        bail!("ada does not see what GitLab shows her: {stacks}");
    }
    let page = format!("/runs/{}", waiting.run);
    let fields = [("decision", "approve"), ("comment", "Five are enough.")];
    ada.press(&page, &format!("{page}/review"), &fields).await?;
    let approved = |run: &Value| text(run, "/approval/state") == "may_confirm";
    let run = run_that(world, &waiting.run, "the approval", approved).await?;
    seen(&format!(
        "ada sees one stack, as in GitLab; {}: {:?}",
        text(&run, "/approval/message"),
        text(&run, "/reviews/0/comment")
    ));
    by_hand(REVIEWER, "Approve");
    look(&waiting.link);
    Ok(())
}

async fn confirm(world: &World, waiting: &Waiting) -> anyhow::Result<()> {
    world.step("You sign in with GitLab too, and confirm it as a Maintainer");
    let you = Browser::sign_in(&world.gantry, YOU).await?;
    let page = format!("/runs/{}", waiting.run);
    you.press(&page, &format!("{page}/confirm"), &[("comment", "")]).await?;
    let done = succeeded(world, world.platform, &waiting.commit, "gantry/platform").await?;
    let said = done.description.unwrap_or_default();
    if !said.contains("1 added") {
        bail!("the status says {said:?}");
    }
    let run = world.api.get(&format!("/runs/{}", waiting.run)).await?;
    let steps = array(&run, "/history");
    let confirmed = steps.iter().find(|step| step["state"] == "confirmed");
    let by = text(confirmed.context("nobody has confirmed it")?, "/by");
    seen(&format!("gantry/platform: {said}, confirmed by {by}"));
    by_hand(YOU, "Confirm and apply");
    look(done.target_url.as_deref().unwrap_or_default());
    Ok(())
}

/// The run, once it is as it should become.
async fn run_that(
    world: &World,
    run: &str,
    what: &str,
    is_it: impl Fn(&Value) -> bool,
) -> anyhow::Result<Value> {
    let began = Instant::now();
    loop {
        let found = world.api.get(&format!("/runs/{run}")).await?;
        if is_it(&found) {
            return Ok(found);
        }
        if began.elapsed() > PATIENCE {
            bail!("{what} did not show up within {} s: {found}", PATIENCE.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// How a person does the same with a browser.
fn by_hand(who: &str, button: &str) {
    say(&format!(
        "   by hand: on the page of such a run choose \"Sign in to confirm or discard\" and \"Sign \
         in with GitLab\", choose {who}, press \"Authorize\", then \"{button}\""
    ));
}
