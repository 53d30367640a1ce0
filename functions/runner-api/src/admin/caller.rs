//! Who asks for a state: whoever has an access key. People are known, and refused.

use crate::deps::Deps;
use axum::{
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
};
use gantry_setup::web::{ClientAddress, Problem, bearer};
use gantry_store::{
    Key, Stored,
    config::{AdminKey, Person, PersonSession, Role, place_of_persons_key},
    keys,
};

/// Who asks, and from where.
pub(super) struct Caller {
    /// The key's name, or the person's.
    pub(super) name: String,
    holder: Holder,
    pub(super) address: String,
}

/// Whose rights count.
pub(super) enum Holder {
    /// An access key's.
    Key(Role),
    /// Those of the person who made the key.
    KeyOfPerson,
    /// Those of a person who signed in.
    Person,
}

impl Caller {
    pub(super) fn of_key(key: AdminKey, address: String) -> Self {
        Self { name: key.name, holder: Holder::Key(key.role), address }
    }

    /// The person whose session, or key, is kept there; none when it has ended.
    pub(super) async fn of_person(
        deps: &Deps,
        place: &Key,
        holder: Holder,
        address: String,
    ) -> Result<Option<Self>, Problem> {
        let found = deps.store.get::<PersonSession>(place).await;
        let found = found.map_err(|error| Problem::internal(&error))?;
        let Some(found) = found.filter(|found| deps.clock.now() < found.value.expires_at) else {
            return Ok(None);
        };
        let person = deps.store.get::<Person>(&keys::person(found.value.person)).await;
        let person = person.map_err(|error| Problem::internal(&error))?;
        Ok(person.map(|Stored { value: Person { name, username, .. }, .. }| Self {
            name: format!("{name} @{username}"),
            holder,
            address,
        }))
    }

    /// The key's role; none of a person.
    pub(super) fn role(&self) -> Option<Role> {
        match self.holder {
            Holder::Key(role) => Some(role),
            Holder::KeyOfPerson | Holder::Person => None,
        }
    }

    pub(super) fn must_be(&self, role: Role) -> Result<(), Problem> {
        let detail = match self.holder {
            Holder::Key(own) if own >= role => return Ok(()),
            Holder::Key(_) => {
                "States contain secrets, so only a key with the role admin can read or change them."
            }
            Holder::KeyOfPerson => {
                "This key belongs to a person. Use an access key of an admin: states contain \
                 secrets."
            }
            Holder::Person => {
                "You are signed in with GitLab. Sign in with an access key of an admin instead: \
                 states contain secrets."
            }
        };
        Err(Problem::new(StatusCode::FORBIDDEN, "You don't have permission", detail))
    }
}

impl FromRequestParts<Deps> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, deps: &Deps) -> Result<Self, Problem> {
        let refused = || {
            let detail = "Send an access key as the bearer token.";
            Problem::new(StatusCode::UNAUTHORIZED, "Authentication required", detail)
        };
        let Ok(ClientAddress(address)) = ClientAddress::from_request_parts(parts, deps).await;
        let secret = bearer(&parts.headers).ok_or_else(refused)?;
        if let Some(place) = place_of_persons_key(secret) {
            let caller = Self::of_person(deps, &place, Holder::KeyOfPerson, address).await?;
            return caller.ok_or_else(refused);
        }
        let key = deps.store.admin_key(secret).await.map_err(|e| Problem::internal(&e))?;
        Ok(Self::of_key(key.ok_or_else(refused)?, address))
    }
}
