//! Who may do what, and why: of an access key by its role, of a person by their access level in the
//! stack's GitLab project.
//!
//! One function decides for pages, API and links: [`decide`]. It knows nothing of requests.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What somebody wants to do. Each right includes those before it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, strum::Display, strum::VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum Right {
    /// Look.
    Read,
    /// Start, repeat and stop previews.
    Preview,
    /// Confirm, discard, start and stop deploys.
    Deploy,
    /// Unblock what a lost apply left.
    Unblock,
    /// Change the stack or module itself.
    Edit,
    /// Change the installation.
    Admin,
}

/// An access level of a member in GitLab, by the number that its API has for it.
///
/// <https://docs.gitlab.com/api/access_requests/#valid-access-levels>
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// 20
    Reporter,
    /// 30
    Developer,
    /// 40
    Maintainer,
    /// 50
    Owner,
}

impl Level {
    /// The number that GitLab's API has for it.
    pub fn number(self) -> u32 {
        match self {
            Self::Reporter => 20,
            Self::Developer => 30,
            Self::Maintainer => 40,
            Self::Owner => 50,
        }
    }

    /// The highest level that a number of GitLab's API reaches; none below Reporter, whom GitLab
    /// does not show the code of private projects either.
    pub fn reached_by(number: u32) -> Option<Self> {
        [Self::Owner, Self::Maintainer, Self::Developer, Self::Reporter]
            .into_iter()
            .find(|level| number >= level.number())
    }
}

/// Which level of the stack's project gives which right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Levels {
    /// Look.
    pub read: Level,
    /// Start, repeat and stop previews.
    pub preview: Level,
    /// Confirm, discard, start and stop deploys.
    pub deploy: Level,
    /// Change the stack or module itself.
    pub edit: Level,
}

impl Default for Levels {
    fn default() -> Self {
        Self {
            read: Level::Reporter,
            preview: Level::Developer,
            deploy: Level::Maintainer,
            edit: Level::Owner,
        }
    }
}

impl Levels {
    /// The level that a right takes; none for what no level gives.
    pub fn of(&self, right: Right) -> Option<Level> {
        match right {
            Right::Read => Some(self.read),
            Right::Preview => Some(self.preview.max(self.read)),
            Right::Deploy | Right::Unblock => Some(self.deploy.max(self.preview).max(self.read)),
            Right::Edit => Some(self.edit.max(self.deploy).max(self.preview).max(self.read)),
            Right::Admin => None,
        }
    }
}

/// What a stack asks for where that is more than the installation does. Who sees it, it does not
/// say: that is the same for all stacks of a project.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub struct StackLevels {
    /// Start, repeat and stop previews.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview: Option<Level>,
    /// Confirm, discard, start and stop deploys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deploy: Option<Level>,
    /// Change the stack or module itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edit: Option<Level>,
}

impl StackLevels {
    /// The installation's levels, raised to those of the stack.
    pub fn over(&self, all: &Levels) -> Levels {
        let raised = |level: Level, own: Option<Level>| own.map_or(level, |own| own.max(level));
        Levels {
            read: all.read,
            preview: raised(all.preview, self.preview),
            deploy: raised(all.deploy, self.deploy),
            edit: raised(all.edit, self.edit),
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Whoever has an access key: the most that its role may do, whichever the stack.
    Key(Option<Right>),
    /// A person who signed in.
    Person {
        /// An admin of the installation.
        admin: bool,
        /// Their level in the project that is asked about; none without one there.
        level: Option<Level>,
    },
}

/// What is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// The installation as a whole, or a list that shows everybody what they may see.
    Installation,
    /// A stack or module of a GitLab project.
    Project,
    /// A stack whose code is not in GitLab: no level says anything of it.
    Elsewhere,
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// They may.
    Allowed,
    /// They may not even know that it is there.
    Hidden,
    /// They may see it, but not do this.
    Denied(Lacks),
}

/// What somebody lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lacks {
    /// A key of a role with this right.
    Role(Right),
    /// This level in the stack's project: what they have instead.
    Level {
        /// What it takes.
        needs: Level,
        /// What they have.
        has: Level,
    },
    /// To be an admin of the installation.
    Admin,
}

/// Whether somebody may do something.
pub fn decide(who: Who, right: Right, of: Of, levels: &Levels) -> Decision {
    let (admin, level) = match who {
        Who::Key(most) => {
            return match most {
                Some(most) if most >= right => Decision::Allowed,
                _ => Decision::Denied(Lacks::Role(right)),
            };
        }
        Who::Person { admin, level } => (admin, level),
    };
    if admin {
        return Decision::Allowed;
    }
    match (of, levels.of(right)) {
        (Of::Installation, _) if right == Right::Read => Decision::Allowed,
        (Of::Installation, _) => Decision::Denied(Lacks::Admin),
        (Of::Elsewhere, _) => Decision::Hidden,
        (Of::Project, needs) => match level.filter(|level| *level >= levels.read) {
            None => Decision::Hidden,
            Some(has) => match needs {
                Some(needs) if has >= needs => Decision::Allowed,
                Some(needs) => Decision::Denied(Lacks::Level { needs, has }),
                None => Decision::Denied(Lacks::Admin),
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strum::VariantArray as _;

    fn person(level: Option<Level>) -> Who {
        Who::Person { admin: false, level }
    }

    #[test]
    fn the_table_of_levels() {
        let mut lines = vec![];
        for level in [None].into_iter().chain(Level::VARIANTS.iter().copied().map(Some)) {
            let may = |right: &Right| match decide(
                person(level),
                *right,
                Of::Project,
                &Levels::default(),
            ) {
                Decision::Allowed => "yes",
                Decision::Hidden => "hidden",
                Decision::Denied(_) => "no",
            };
            let cells: Vec<_> = Right::VARIANTS.iter().map(may).collect();
            let level = level.map_or("none".to_owned(), |level| level.to_string());
            lines.push(format!("{level:10} {}", cells.join(" ")));
        }
        insta::assert_snapshot!(lines.join("\n"), @r"
        none       hidden hidden hidden hidden hidden hidden
        Reporter   yes no no no no no
        Developer  yes yes no no no no
        Maintainer yes yes yes yes no no
        Owner      yes yes yes yes yes no
        ");
    }

    #[test]
    fn a_key_is_good_for_its_role_whichever_the_stack() {
        let levels = Levels::default();
        for of in [Of::Installation, Of::Project, Of::Elsewhere] {
            for most in Right::VARIANTS {
                for right in Right::VARIANTS {
                    let decision = decide(Who::Key(Some(*most)), *right, of, &levels);
                    assert_eq!(decision == Decision::Allowed, most >= right, "{most} {right}");
                    assert_ne!(decision, Decision::Hidden);
                }
            }
            let worker = decide(Who::Key(None), Right::Read, of, &levels);
            assert_eq!(worker, Decision::Denied(Lacks::Role(Right::Read)));
        }
    }

    #[test]
    fn what_is_not_in_gitlab_and_the_installation_are_for_admins() {
        let levels = Levels::default();
        for right in Right::VARIANTS {
            let owner = person(Some(Level::Owner));
            assert_eq!(decide(owner, *right, Of::Elsewhere, &levels), Decision::Hidden);
            let of_all = decide(owner, *right, Of::Installation, &levels);
            let expected = match right {
                Right::Read => Decision::Allowed,
                _ => Decision::Denied(Lacks::Admin),
            };
            assert_eq!(of_all, expected);
            for of in [Of::Installation, Of::Project, Of::Elsewhere] {
                let admin = Who::Person { admin: true, level: None };
                assert_eq!(decide(admin, *right, of, &levels), Decision::Allowed);
            }
        }
    }

    #[test]
    fn a_higher_right_never_takes_a_lower_level() {
        let strange = Levels {
            read: Level::Maintainer,
            preview: Level::Reporter,
            deploy: Level::Developer,
            edit: Level::Reporter,
        };
        for right in [Right::Read, Right::Preview, Right::Deploy, Right::Unblock, Right::Edit] {
            assert_eq!(strange.of(right), Some(Level::Maintainer), "{right}");
            let developer = person(Some(Level::Developer));
            assert_eq!(decide(developer, right, Of::Project, &strange), Decision::Hidden);
        }
    }

    #[test]
    fn a_stack_asks_for_more_and_never_for_less() {
        let all = Levels::default();
        assert_eq!(StackLevels::default().over(&all), all);
        let own = StackLevels {
            preview: Some(Level::Maintainer),
            deploy: Some(Level::Reporter),
            edit: Some(Level::Owner),
        };
        let over = own.over(&all);
        assert_eq!(over, Levels { preview: Level::Maintainer, ..all });
        // Who sees it is the same for all stacks of a project.
        assert_eq!(over.of(Right::Read), Some(Level::Reporter));
        let developer = person(Some(Level::Developer));
        let lacks = Lacks::Level { needs: Level::Maintainer, has: Level::Developer };
        let decision = decide(developer, Right::Preview, Of::Project, &over);
        assert_eq!(decision, Decision::Denied(lacks));
    }

    #[test]
    fn gitlab_has_levels_between_ours() {
        // Guest, Planner, Security Manager, and numbers that are not there yet.
        let read = [0, 5, 10, 15, 20, 25, 30, 40, 50, 60].map(Level::reached_by);
        use Level::{Developer, Maintainer, Owner, Reporter};
        let expected = [
            None,
            None,
            None,
            None,
            Some(Reporter),
            Some(Reporter),
            Some(Developer),
            Some(Maintainer),
            Some(Owner),
            Some(Owner),
        ];
        assert_eq!(read, expected);
    }
}
