//! What the state of a stack holds, for people: its resources, with the runs that they come from,
//! and its outputs. No attribute of a resource is told, and every secret is masked.

use super::{
    Kind, find_of,
    origins::{StateWriter, origins, writers},
};
use crate::{
    app::App,
    cursor,
    form::Params,
    refusal::{Answer, Refusal},
};
use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    response::IntoResponse,
};
use gantry_domain::{
    masking::Masker,
    stack::{Stack, VariableValue},
    state::{self, Instance, StateMasker},
    text::{cut, visible},
};
use gantry_secrets::Sealer;
use gantry_setup::web::{Problem, page_size};
use gantry_store::{keys, runner::StateVersion};
use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::OwnedSemaphorePermit, task::spawn_blocking, time::timeout};

/// Bytes of a state that is read for people. What is larger would not fit into the function.
const LARGEST: u64 = 50_000_000;
/// Characters of an address, a module or a type. Code can make them as long as it likes.
const LONGEST_ADDRESS: usize = 500;
/// How long a request waits for its turn, and in how many seconds it may come again.
const PATIENCE: Duration = Duration::from_secs(2);
const AGAIN: u64 = 5;
/// Versions before the current one in which a list still goes on.
const OLDEST: u64 = 20;

/// Which part of the list is asked for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(crate) struct ResourceQuery {
    /// The `next` of the previous page. It continues in the same version of the state.
    pub(crate) after: Option<String>,
    /// Items per page: 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub(crate) limit: Option<u32>,
    /// Words that the address must contain.
    pub(crate) search: Option<String>,
}

/// A page of the resources in a stack's state, by module and type.
#[derive(Default, Serialize, JsonSchema)]
pub(crate) struct ResourceList {
    pub(crate) resources: Vec<Resource>,
    /// How many there are, or how many the search found.
    pub(crate) total: usize,
    /// Why they cannot be listed; null if they can.
    pub(crate) unavailable: Option<String>,
    /// The number of the state's version; null if they cannot be listed.
    pub(crate) version: Option<u64>,
    /// Who wrote the oldest version that was compared with. What is older has no `created_by`.
    pub(crate) compared_to: Option<StateWriter>,
    /// The `after` of the next page; null at the end.
    pub(crate) next: Option<String>,
    /// How many of all are resources, and how many are what data sources have read.
    #[serde(skip)]
    pub(crate) counts: (usize, usize),
    /// The modules, with how many each has.
    #[serde(skip)]
    pub(crate) modules: BTreeMap<String, usize>,
}

/// An instance of a resource, or what a data source has read.
#[derive(Clone, Serialize, JsonSchema)]
#[schemars(rename = "StackResource")]
pub(crate) struct Resource {
    /// With the key of `count` or `for_each`.
    pub(crate) address: String,
    /// The address of its module; empty for the root module.
    pub(crate) module: String,
    #[serde(rename = "type")]
    pub(crate) resource_type: String,
    /// False for what a data source has read.
    pub(crate) managed: bool,
    /// The next apply replaces it.
    pub(crate) tainted: bool,
    /// The key of an object that is still to be destroyed, while another one has its address.
    pub(crate) deposed: Option<String>,
    /// Who wrote the first version of the state that has it; null if `compared_to` has it already.
    pub(crate) created_by: Option<StateWriter>,
    /// Who wrote the first version with its current attributes; null if `compared_to` has them
    /// already.
    pub(crate) changed_by: Option<StateWriter>,
}

/// The outputs in a stack's state, by name.
#[derive(Default, Serialize, JsonSchema)]
pub(crate) struct OutputList {
    /// At most 200.
    pub(crate) outputs: Vec<Output>,
    /// How many there are.
    pub(crate) total: usize,
    /// Why they cannot be listed; null if they can.
    pub(crate) unavailable: Option<String>,
    /// The number of the state's version; null if they cannot be listed.
    pub(crate) version: Option<u64>,
}

/// An output of a stack.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "StackOutput")]
pub(crate) struct Output {
    pub(crate) name: String,
    /// Its type as it is written in code, such as `list(string)`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// It is marked as sensitive.
    pub(crate) sensitive: bool,
    /// A string as it is, anything else as JSON, with secrets masked and after 20,000 characters
    /// cut. `(too long to show)` if it has more than 1 MB, or all values together have more. Null if
    /// it is sensitive.
    pub(crate) value: Option<String>,
}

/// `GET /api/v1/stacks/{slug}/resources?after=&limit=&search=`
pub(crate) async fn resources(
    State(app): State<App>,
    Path(slug): Path<String>,
    Params(query): Params<ResourceQuery>,
) -> Answer<impl IntoResponse> {
    let stack = find_of(&app, Kind::Stack, &slug).await?.value;
    resources_of(&app, &stack, &query, 100).await.map(Json)
}

/// `GET /api/v1/stacks/{slug}/outputs`
pub(crate) async fn outputs(
    State(app): State<App>,
    Path(slug): Path<String>,
) -> Answer<impl IntoResponse> {
    let stack = find_of(&app, Kind::Stack, &slug).await?.value;
    outputs_of(&app, &stack).await.map(Json)
}

/// A page of the resources in the stack's state: `usual` of them where nobody says how many.
pub(crate) async fn resources_of(
    app: &App,
    stack: &Stack,
    query: &ResourceQuery,
    usual: i32,
) -> Answer<ResourceList> {
    let limit = usize::try_from(page_size(query.limit, usual)?).unwrap_or_default();
    let place = query.after.as_deref().map(Place::read).transpose()?;
    let skipped = place.as_ref().map_or(0, |place| place.skipped);
    let none = |why| ResourceList { unavailable: Some(why), ..ResourceList::default() };
    let opened = match open(app, stack, place.map(|place| place.version)).await? {
        Ok(opened) => opened,
        Err(why) => return Ok(none(why)),
    };
    let Opened { version, body, masker, turn } = opened;
    let search = query.search.clone().unwrap_or_default().to_lowercase();
    let found = apart(&turn, move || {
        let masker = StateMasker::of(&body, &masker)?;
        Some(Found::of(state::instances(&body)?, &masker, &search, skipped, limit))
    });
    let Some(found) = found.await? else { return Ok(none(UNREADABLE.to_owned())) };
    let next = skipped + found.shown.len();
    let next = (next < found.total).then_some(Place { version: version.number, skipped: next });
    let (instances, mut resources): (Vec<Instance>, Vec<Resource>) =
        found.shown.into_iter().unzip();
    let (origins, versions) = origins(app, stack, &version, instances, &turn).await?;
    let writers = writers(app, &versions).await?;
    let writer = |number: Option<u64>| writers.get(&number?).cloned();
    for (resource, origin) in resources.iter_mut().zip(origins.found()) {
        resource.created_by = writer(origin.created);
        resource.changed_by = writer(origin.changed);
    }
    Ok(ResourceList {
        resources,
        total: found.total,
        unavailable: None,
        version: Some(version.number),
        compared_to: writer(Some(origins.oldest())),
        next: next.map(|place| place.cursor()),
        counts: found.counts,
        modules: found.modules,
    })
}

/// The outputs in the stack's current state.
pub(crate) async fn outputs_of(app: &App, stack: &Stack) -> Answer<OutputList> {
    let none = |why| OutputList { unavailable: Some(why), ..OutputList::default() };
    let Opened { version, body, masker, turn } = match open(app, stack, None).await? {
        Ok(opened) => opened,
        Err(why) => return Ok(none(why)),
    };
    let outputs = apart(&turn, move || state::outputs(&body, &StateMasker::of(&body, &masker)?));
    let Some(outputs) = outputs.await? else { return Ok(none(UNREADABLE.to_owned())) };
    let output = |output: state::Output| Output {
        name: cut(&output.name, LONGEST_ADDRESS),
        kind: output.kind,
        sensitive: output.value.is_none(),
        value: output.value,
    };
    Ok(OutputList {
        outputs: outputs.told.into_iter().map(output).collect(),
        total: outputs.total,
        unavailable: None,
        version: Some(version.number),
    })
}

/// What is said of a body that is not what its record says.
const UNREADABLE: &str =
    "Gantry cannot read the state. An admin can download it from the stack's page.";

/// A version of a state that can be read.
struct Opened {
    version: StateVersion,
    body: Bytes,
    /// Knows the stack's secrets.
    masker: Masker,
    turn: Turn,
}

/// Held by whoever reads a state, and by what goes on for them after they left.
pub(super) type Turn = Arc<OwnedSemaphorePermit>;

async fn turn(app: &App) -> Answer<Turn> {
    match timeout(PATIENCE, Arc::clone(&app.state_readers).acquire_owned()).await {
        Ok(Ok(permit)) => Ok(Arc::new(permit)),
        _ => {
            let detail = "Gantry is reading other states. Try again in some seconds.";
            Err(Refusal::busy("Too many requests for states", detail, AGAIN))
        }
    }
}

/// The current version of the stack's state, or another one; or why it cannot be read, in words.
async fn open(app: &App, stack: &Stack, number: Option<u64>) -> Answer<Result<Opened, String>> {
    if !stack.settings.manage_state {
        let why = "Gantry does not store this state, because the code configures its own backend. \
                   List it there, for example with terraform state list.";
        return Ok(Err(why.to_owned()));
    }
    let current = app.store.get::<StateVersion>(&keys::state(&stack.id)).await?;
    let version = match (number, current) {
        (None, Some(current)) => current.value,
        (None, None) => {
            return Ok(Err("There is no state yet. The first apply creates it.".to_owned()));
        }
        (Some(number), current) => {
            let key = keys::state_version(&stack.id, number);
            let version = app.store.get::<StateVersion>(&key).await?;
            let current = current.map_or(0, |current| current.value.number);
            let is_before = (current.saturating_sub(OLDEST)..current).contains(&number);
            let is_listed =
                |version: &StateVersion| number == current || (is_before && !version.rescued);
            let version = version.map(|version| version.value).filter(is_listed);
            version.ok_or_else(|| cursor::strange("after"))?
        }
    };
    if let Some(why) = state::unreadable(version.form) {
        return Ok(Err(why.to_owned()));
    }
    if version.size > LARGEST {
        let why = format!(
            "The state has {} MB, and Gantry lists at most {}. An admin can download it from the \
             stack's page and list it with terraform state list -state=FILE.",
            version.size / 1_000_000,
            LARGEST / 1_000_000,
        );
        return Ok(Err(why));
    }
    let masker = match secrets(stack, &app.sealer) {
        Ok(secrets) => Masker::new(secrets.iter().map(SecretString::expose_secret)),
        Err(why) => return Ok(Err(why)),
    };
    let turn = turn(app).await?;
    let Some(body) = app.objects.get(&version.object).await? else {
        tracing::error!(object = version.object, "the body of a state is missing");
        let why = "The state is missing in object storage. Tell whoever operates Gantry.";
        return Ok(Err(why.to_owned()));
    };
    Ok(Ok(Opened { version, body, masker, turn }))
}

/// Every secret that the stack's state may hold. Words where one cannot be decrypted: what is not
/// known cannot be masked.
fn secrets(stack: &Stack, sealer: &Sealer) -> Result<Vec<SecretString>, String> {
    let present = stack.variables.iter().filter_map(|variable| match &variable.value {
        VariableValue::Sealed(sealed) => Some((&variable.name, sealed)),
        VariableValue::Plain(_) => None,
    });
    let retired = stack.retired.iter().map(|retired| (&retired.name, &retired.sealed));
    let open = |(name, sealed): (&String, &String)| {
        sealer.open(&stack.id, name, sealed).map_err(|_| {
            format!(
                "A value of the secret variable {name} cannot be decrypted with this \
                 installation's key, so it cannot be masked here. An admin must set it again."
            )
        })
    };
    present.chain(retired).map(open).collect()
}

/// What was found in a state, and a page of it: each instance as it is, and as it is told.
struct Found {
    shown: Vec<(Instance, Resource)>,
    total: usize,
    counts: (usize, usize),
    modules: BTreeMap<String, usize>,
}

impl Found {
    fn of(
        instances: Vec<Instance>,
        masker: &StateMasker,
        search: &str,
        skipped: usize,
        limit: usize,
    ) -> Self {
        let words: Vec<&str> = search.split_whitespace().collect();
        let mut found =
            Self { shown: Vec::new(), total: 0, counts: (0, 0), modules: BTreeMap::new() };
        for instance in instances {
            match instance.is_managed {
                true => found.counts.0 += 1,
                false => found.counts.1 += 1,
            }
            let resource = told(&instance, masker);
            // What is hidden cannot be looked for.
            let address = resource.address.to_lowercase();
            if !words.iter().all(|word| address.contains(word)) {
                continue;
            }
            *found.modules.entry(resource.module.clone()).or_default() += 1;
            if found.total >= skipped && found.shown.len() < limit {
                found.shown.push((instance, resource));
            }
            found.total += 1;
        }
        found
    }
}

fn told(instance: &Instance, masker: &StateMasker) -> Resource {
    let told = |masked: String| cut(&visible(&masked), LONGEST_ADDRESS);
    Resource {
        address: told(masker.mask_address(&instance.address)),
        module: told(masker.mask_address(&instance.module)),
        resource_type: told(masker.mask(&instance.resource_type)),
        managed: instance.is_managed,
        tainted: instance.is_tainted,
        deposed: instance.deposed.as_deref().map(|deposed| told(masker.mask(deposed))),
        created_by: None,
        changed_by: None,
    }
}

/// Where a list goes on: in which version, and after how many.
struct Place {
    version: u64,
    skipped: usize,
}

impl Place {
    fn read(cursor: &str) -> Answer<Self> {
        let key = cursor::to_key(cursor, "after")?;
        let place = key.split_once('#').and_then(|(version, skipped)| {
            Some(Self { version: version.parse().ok()?, skipped: skipped.parse().ok()? })
        });
        place.ok_or_else(|| cursor::strange("after"))
    }

    fn cursor(&self) -> String {
        cursor::from_key(&format!("{}#{}", self.version, self.skipped))
    }
}

/// Work on a whole state, which would hold up others. It ends with what it has begun, and has its
/// turn until then.
pub(super) async fn apart<T: Send + 'static>(
    turn: &Turn,
    work: impl FnOnce() -> T + Send + 'static,
) -> Answer<T> {
    let turn = Arc::clone(turn);
    let work = move || {
        let done = work();
        drop(turn);
        done
    };
    spawn_blocking(work).await.map_err(|error| Refusal::from(Problem::internal(&error)))
}
