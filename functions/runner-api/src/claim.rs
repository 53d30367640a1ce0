//! Taking a phase: once, by one runner.

use crate::{
    deps::Deps, refusal::Refusal, token::matching_run, transfer::source_address, variables,
};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use gantry_domain::{
    module::registry_host,
    outdated,
    protocol::{ClaimAnswer, ClaimRequest, Registry, Report, ReportKind, claim_purpose},
    run::{Phase, PlanOptions, Run, RunState, RunType, TestOf},
    stack::{Stack, Tool},
};
use gantry_queue::StackMessage;
use gantry_secrets::{TokenFor, TokenKind};
use gantry_setup::{
    identity::{IdentityError, is_session_of},
    metrics,
    web::bearer,
};
use gantry_store::{Expect, Outcome, Stored, Write, keys, runner::Claim};
use secrecy::ExposeSecret as _;

/// How often the run may change under our hands before the runner has to ask again.
const TRIES: u32 = 5;
/// What a runner's name may be long, for people.
const LONGEST_NAME: usize = 100;
/// How much longer than its phase a token is good, in seconds. Attempts are fenced by the run's
/// record: this only ends tokens that nobody needs any more.
const MARGIN: i64 = 60 * 60;
/// The same for runs that apply: a runner that was cut off may still bring its state the next day.
const MARGIN_OF_APPLY: i64 = 24 * 60 * 60;

const WRONG_ROLE: &str = "the runner does not have the role that the run was started with";
const TAKEN: &str = "another runner has claimed this phase";
const NOT_WANTED: &str = "this phase is no longer needed";
const TOO_OLD: &str = "The runner's release is too old for this kind of run. Update it, then start the \
                       run again";

/// `POST claim`.
pub(crate) async fn claim(
    State(deps): State<Deps>,
    headers: HeaderMap,
    Json(request): Json<ClaimRequest>,
) -> Result<Json<ClaimAnswer>, Refusal> {
    let token = deps.token(TokenKind::Claim, &headers).await?;
    let proven = proven_role(&deps, &headers, &request).await?;
    let Taken { run, claim, stack } = take(&deps, &token, &request, proven.as_deref()).await?;
    let stored = stack.ok_or_else(|| Refusal::gone("the stack no longer exists"))?;
    let stack = &stored.value;

    let (runner, tells_again) = (claim.runner.clone(), request.tells_again);
    let said = ReportKind::Claimed { runner, tells_again };
    tell(&deps, &run, Report::new(0, said)).await?;
    let token = run_token(&run, stack, &claim);
    let variables = match variables::of_run(stack, &run, deps.sealer().await?.as_ref()) {
        _ if is_unusual(&run) && !request.heeds_options => {
            Err(Refusal::text(StatusCode::UNPROCESSABLE_ENTITY, TOO_OLD))
        }
        // What the run says must be masked with all the others too.
        Ok(variables) => deps.wall_of(&stored, &run, &token).await.map(|_| variables),
        Err(sealed) => Err(Refusal::text(StatusCode::UNPROCESSABLE_ENTITY, sealed.to_string())),
    };
    let variables = match variables {
        Err(Refusal::Text(status @ StatusCode::UNPROCESSABLE_ENTITY, why)) => {
            // The runner gets no token and so cannot say it itself.
            tell(&deps, &run, Report::new(1, failed(&why))).await?;
            return Err(Refusal::Text(status, why));
        }
        other => other?,
    };
    let place = Where::of(stack, &run);
    let signer = deps.signer().await?;
    let run_token = signer.sign(&token);
    // The tools refuse a whole CLI configuration for a host that they do not take.
    let registry = registry_host(&deps.public_url).map(|host| {
        let token = signer.sign(&TokenFor { kind: TokenKind::Registry, ..token.clone() });
        Registry { host: host.to_owned(), token: token.expose_secret().to_owned() }
    });
    tracing::info!(
        run.id = %run.id, stack = %run.slug, phase = %run.phase, attempt = run.attempt,
        runner = claim.runner, "a runner claimed a phase"
    );
    let source_url = source_address(&deps, &run).await?;
    let autodeploy = run.applies_at_once() && !claim.held && run.run_type != RunType::Proposed;
    let task = run.task().map(str::to_owned);
    let tolerate = run.is_drift().then(|| stack.settings.drift.tolerate.clone());
    // The runner gets them opened, with the others.
    let options = PlanOptions { variables: Vec::new(), ..run.options };
    let upload = run.upload.map(|upload| (upload.by, upload.digest));
    let (uploaded_by, upload_digest) = upload.unzip();
    Ok(Json(ClaimAnswer {
        run_token: run_token.expose_secret().to_owned(),
        run: run.id,
        phase: run.phase,
        run_type: run.run_type,
        stack: run.slug,
        commit: run.commit,
        uploaded_by,
        upload_digest,
        source_url,
        branch: run.git_ref,
        project_root: place.root,
        var_files: place.var_files,
        tool: place.tool,
        tool_version: place.tool_version,
        autodeploy,
        manage_state: stack.settings.manage_state,
        hooks: stack.settings.hooks.clone(),
        variables,
        timeout: match run.phase {
            Phase::Plan => stack.settings.timeouts.plan.seconds(),
            Phase::Apply => stack.settings.timeouts.apply.seconds(),
        },
        apply_timeout: stack.settings.timeouts.apply.seconds(),
        registry,
        largest_state: deps.limits.state,
        options,
        tolerate,
        task,
        plan_digest: run.plan_digest.filter(|_| run.phase == Phase::Apply),
        planned: run.delta.filter(|_| run.phase == Phase::Apply),
    }))
}

/// A runner of an earlier release would do something else.
fn is_unusual(run: &Run) -> bool {
    run.phase == Phase::Plan && (!run.options.is_usual() || run.is_drift() || run.task().is_some())
}

/// Where and with what a run is executed: a test has its own folder and versions.
struct Where {
    root: String,
    /// From `root`.
    var_files: Vec<String>,
    tool: Tool,
    tool_version: Option<String>,
}

impl Where {
    fn of(stack: &Stack, run: &Run) -> Self {
        let Some(TestOf { case, .. }) = &run.test else {
            let (tool, tool_version) = (stack.settings.tool, stack.settings.tool_version.clone());
            let (root, var_files) =
                (stack.settings.project_root.clone(), stack.settings.var_files.clone());
            return Self { root, var_files, tool, tool_version };
        };
        let both = [stack.settings.project_root.as_str(), case.project_root.as_str()];
        let parts: Vec<&str> = both.into_iter().filter(|part| !part.is_empty()).collect();
        Self {
            root: parts.join("/"),
            var_files: from_below(&case.project_root, &stack.settings.var_files),
            tool: case.tool.unwrap_or(stack.settings.tool),
            tool_version: case.tool_version.clone().or_else(|| stack.settings.tool_version.clone()),
        }
    }
}

/// Paths from a folder as paths from one below it.
fn from_below(below: &str, paths: &[String]) -> Vec<String> {
    let up = "../".repeat(below.split('/').filter(|segment| !segment.is_empty()).count());
    paths.iter().map(|path| format!("{up}{path}")).collect()
}

/// A phase that was claimed, with its stack.
struct Taken {
    run: Run,
    claim: Claim,
    stack: Option<Stored<Stack>>,
}

/// Records the claim on condition that nobody has claimed the attempt, and looks behind that whether
/// the run still waits. A claim that is repeated finds itself: that is looked for where this one cannot
/// be recorded.
async fn take(
    deps: &Deps,
    token: &TokenFor,
    request: &ClaimRequest,
    proven: Option<&str>,
) -> Result<Taken, Refusal> {
    for _ in 0..TRIES {
        let run = matching_run(&deps.store, token).await?;
        let run = run.filter(|run| !run.value.state.is_final());
        let run = run.ok_or_else(|| Refusal::gone(NOT_WANTED))?;
        if let Some(role) = &run.value.role
            && !proven.is_some_and(|session| is_session_of(session, role))
        {
            metrics::count("ClaimsRefused", 1);
            tracing::error!(
                run.id = %run.value.id, attempt = token.attempt, role, proven,
                security = true, "a claim was refused because it does not prove the run's role"
            );
            return Err(Refusal::forbidden(WRONG_ROLE));
        }
        let stack = deps.store.stack(&run.value.stack).await?;
        if !waits_for(&run.value) {
            let claim = claimed_before(deps, token, request, &run.value).await?;
            let claim = claim.ok_or_else(|| Refusal::gone(NOT_WANTED))?;
            return Ok(Taken { run: run.value, claim, stack });
        }
        let integration = deps.store.integration().await?.map(|found| found.value);
        let now_is = stack.as_ref().map(|stack| &stack.value);
        if let Some(why) = outdated(&run.value, now_is, integration.as_ref()) {
            if let Some(claim) = claimed_before(deps, token, request, &run.value).await? {
                return Ok(Taken { run: run.value, claim, stack });
            }
            let (stack, run, version) = (run.value.stack, run.value.id, run.version);
            tracing::info!(run.id = %run, why, "a claim was refused because the run is outdated");
            deps.sender.send(StackMessage::RunDue { stack, run, version }).await?;
            return Err(Refusal::gone(&why));
        }
        let now = deps.clock.now();
        let claim = Claim {
            phase: token.phase,
            runner: readable(&request.runner),
            nonce: request.nonce.clone(),
            at: now,
            held: run.value.is_taken_late(now),
        };
        let place = keys::claim(&token.run, token.attempt);
        let write = Write::put(place, Expect::Absent, &claim)?;
        if deps.store.write(vec![write]).await? == Outcome::Written {
            // Whoever ends an unclaimed attempt does that on condition that there is no claim. So who
            // finds it waiting behind the claim has it, or going on, where the claim was seen already.
            let run = matching_run(&deps.store, token).await?;
            let goes_on = |run: &Run| waits_for(run) || run.state.is_executing();
            let run = run.filter(|run| goes_on(&run.value));
            let run = run.ok_or_else(|| Refusal::gone(NOT_WANTED))?;
            return Ok(Taken { run: run.value, claim, stack });
        }
        if let Some(claim) = claimed_before(deps, token, request, &run.value).await? {
            return Ok(Taken { run: run.value, claim, stack });
        }
    }
    Err(Refusal::busy())
}

/// The run waits for somebody to take its phase.
fn waits_for(run: &Run) -> bool {
    match run.phase {
        Phase::Plan => run.state == RunState::Preparing,
        Phase::Apply => run.state == RunState::Confirmed,
    }
}

/// The claim of the attempt that the same request has recorded before. None where nobody has claimed
/// it; refused where somebody else has.
async fn claimed_before(
    deps: &Deps,
    token: &TokenFor,
    request: &ClaimRequest,
    run: &Run,
) -> Result<Option<Claim>, Refusal> {
    let place = keys::claim(&token.run, token.attempt);
    let Some(Stored { value: claim, .. }) = deps.store.get::<Claim>(&place).await? else {
        return Ok(None);
    };
    if !request.nonce.is_empty() && claim.nonce == request.nonce {
        return Ok(Some(claim));
    }
    // Workers of a pool race for its runs.
    if run.pool.is_none() {
        metrics::count("ClaimsRefused", 1);
        tracing::error!(
            run.id = %run.id, attempt = token.attempt, first = claim.runner,
            second = readable(&request.runner), security = true,
            "a claim was refused because the attempt was claimed before"
        );
    }
    Err(Refusal::gone(TAKEN))
}

/// The session that the request proves, where it proves one.
async fn proven_role(
    deps: &Deps,
    headers: &HeaderMap,
    request: &ClaimRequest,
) -> Result<Option<String>, Refusal> {
    let (Some(proof), Some(verifier)) = (&request.identity, &deps.identities) else {
        return Ok(None);
    };
    let purpose = claim_purpose(bearer(headers).unwrap_or_default());
    match verifier.arn(proof, &purpose).await {
        Ok(arn) => Ok(Some(arn)),
        Err(error @ IdentityError::Unavailable(_)) => {
            tracing::warn!(%error, "a claim is waiting");
            Err(Refusal::busy())
        }
        Err(error) => Err(Refusal::forbidden(&error.to_string())),
    }
}

fn run_token(run: &Run, stack: &Stack, claim: &Claim) -> TokenFor {
    let limits = stack.settings.timeouts;
    let apply = match run.run_type {
        // It destroys what it has applied.
        RunType::Test => limits.apply.seconds().saturating_mul(2),
        RunType::Proposed | RunType::Tracked => limits.apply.seconds(),
    };
    let limit = match run.phase {
        Phase::Plan => limits.plan.seconds().saturating_add(apply),
        Phase::Apply => apply,
    };
    let margin = match run.run_type {
        RunType::Proposed => MARGIN,
        RunType::Tracked | RunType::Test => MARGIN_OF_APPLY,
    };
    TokenFor {
        kind: TokenKind::Run,
        run: run.id.clone(),
        phase: run.phase,
        attempt: run.attempt,
        expires: Some(claim.at.as_second() + i64::from(limit) + margin),
    }
}

async fn tell(deps: &Deps, run: &Run, report: Report) -> Result<(), Refusal> {
    let (stack, run, attempt) = (run.stack.clone(), run.id.clone(), run.attempt);
    Ok(deps.sender.send(StackMessage::Report { stack, run, attempt, report }).await?)
}

fn failed(summary: &str) -> ReportKind {
    ReportKind::Failed {
        summary: summary.chars().take(200).collect(),
        errors: Vec::new(),
        log_tail: Vec::new(),
        in_terraform: false,
    }
}

/// A name from outside, short and without control characters.
fn readable(name: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
    if name.trim().is_empty() { "a runner".to_owned() } else { name }
}
