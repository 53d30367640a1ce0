//! What a run waits for, who may confirm it and who may review it, case by case.

use super::*;

const ADA: UserId = UserId(1);
const BOB: UserId = UserId(2);
const CY: UserId = UserId(3);
const OPS: GroupId = GroupId(7);
static NOT_ASKED: BroughtIn = BroughtIn::NotAsked;

fn person(id: UserId) -> Person {
    let username = match id {
        ADA => "ada",
        BOB => "bob",
        _ => "cy",
    };
    Person { id, username: username.to_owned(), name: String::new() }
}

fn standing(level: AccessLevel, groups: &[Membership]) -> Standing {
    Standing { level: Some(level), groups: groups.to_vec(), is_gitlab_admin: false }
}

fn member(group: GroupId, level: AccessLevel, is_direct: bool) -> Membership {
    Membership { group, level, is_direct }
}

fn developer() -> Standing {
    standing(AccessLevel::DEVELOPER, &[])
}

fn maintainer() -> Standing {
    standing(AccessLevel::MAINTAINER, &[])
}

/// A Reporter of the project who belongs to @ops.
fn of_ops() -> Standing {
    standing(AccessLevel::REPORTER, &[member(OPS, AccessLevel::DEVELOPER, true)])
}

fn user(id: UserId) -> Who {
    Who::User { id, shown: format!("@{}", person(id).username) }
}

fn ops(reach: GroupReach) -> Who {
    Who::Group { id: OPS, reach, shown: "@ops".to_owned() }
}

fn maintainers() -> Who {
    Who::Role(AccessLevel::MAINTAINER)
}

fn rule(who: &[Who], required: u32) -> Rule {
    Rule { who: who.to_vec(), required }
}

/// An environment that Maintainers may deploy to, after these approvals.
fn protected(approvals: &[Rule]) -> Protected {
    Protected {
        environment: "gantry/network".to_owned(),
        protections: vec![Protection {
            origin: Origin::Project,
            may_deploy: vec![maintainers()],
            approvals: approvals.to_vec(),
        }],
        allows_own_approval: false,
    }
}

fn reviewed(by: UserId, standing: Standing, decision: Decision, minute: i8) -> Reviewed {
    let at = format!("2026-01-02T03:{minute:02}:00Z").parse().unwrap();
    Reviewed { review: Review { by: person(by), decision, comment: None, at }, standing }
}

fn approved(by: UserId, standing: Standing, minute: i8) -> Reviewed {
    reviewed(by, standing, Decision::Approve, minute)
}

/// A question about a run that nothing protects.
fn free(asker: Asker<'_>) -> Question<'_> {
    Question {
        gitlab: Ok(None),
        own: None,
        brought_in: Ok(&NOT_ASKED),
        reviews: &[],
        made_by: &[],
        asker,
    }
}

/// The verdict in few words: whose approvals count for each rule.
fn in_short(verdict: &Verdict) -> String {
    let counted = |approvals: &[Progress]| {
        let each = approvals.iter().map(|progress| {
            let given: Vec<&str> =
                progress.given.iter().map(|person| person.username.as_str()).collect();
            format!("{}/{} [{}]", progress.given.len(), progress.required, given.join(" "))
        });
        each.collect::<Vec<_>>().join(" ")
    };
    match verdict {
        Verdict::MayConfirm { approvals, .. } => format!("may {}", counted(approvals)),
        Verdict::NeedsApprovals { approvals } => format!("needs {}", counted(approvals)),
        Verdict::Overridden(_) => "overridden".to_owned(),
        Verdict::NotAllowed(NotAllowed::MayNotDeploy { .. }) => "may not deploy".to_owned(),
        Verdict::NotAllowed(NotAllowed::NoPerson { .. }) => "no person".to_owned(),
        Verdict::NotAllowed(NotAllowed::MergeRequestNotApproved(iid)) => format!("!{iid} is not"),
        Verdict::NotAllowed(NotAllowed::WithoutMergeRequest) => "no merge request".to_owned(),
        Verdict::NotAllowed(NotAllowed::Beside(_)) => "what is applied with it".to_owned(),
        Verdict::NotYet { why } => format!("not yet: {why}"),
        Verdict::Rejected(review) => format!("rejected by {}", review.by.username),
    }
}

#[test]
fn nothing_asked_is_nothing_in_the_way() {
    let (ada, guest) = (person(ADA), Standing::default());
    for asker in [Asker::Anyone, Asker::Key, Asker::Person(&ada, &guest)] {
        assert_eq!(in_short(&verdict(&free(asker))), "may ", "{asker:?}");
    }
}

#[test]
fn who_may_deploy_is_told_by_role_name_or_group() {
    let inherited = standing(AccessLevel::REPORTER, &[member(OPS, AccessLevel::GUEST, false)]);
    let outsider = Standing { level: None, ..of_ops() };
    let guest = standing(AccessLevel::GUEST, &[]);
    let admin = Standing { is_gitlab_admin: true, ..Standing::default() };
    let admins = Who::Role(AccessLevel::ADMIN);
    let owner = standing(AccessLevel::OWNER, &[]);
    for (who, standing, may) in [
        (vec![maintainers()], maintainer(), true),
        (vec![maintainers()], owner.clone(), true),
        (vec![maintainers()], developer(), false),
        (vec![maintainers(), Who::Role(AccessLevel::DEVELOPER)], developer(), true),
        (vec![Who::Role(AccessLevel::NO_ONE)], owner.clone(), false),
        (vec![], owner.clone(), false),
        (vec![admins.clone()], owner, false),
        (vec![admins], admin.clone(), true),
        (vec![user(BOB)], admin, true),
        (vec![user(ADA)], developer(), true),
        (vec![user(BOB)], developer(), false),
        // Who cannot read the project may not deploy either.
        (vec![user(ADA)], guest, false),
        (vec![ops(GroupReach::Direct)], of_ops(), true),
        (vec![ops(GroupReach::Direct)], outsider, false),
        (vec![ops(GroupReach::Direct)], inherited.clone(), false),
        (vec![ops(GroupReach::Inherited)], inherited, true),
        (vec![ops(GroupReach::Inherited)], maintainer(), false),
    ] {
        let ada = person(ADA);
        let mut protected = protected(&[]);
        protected.protections[0].may_deploy = who.clone();
        let asked =
            Question { gitlab: Ok(Some(&protected)), ..free(Asker::Person(&ada, &standing)) };
        let expected = if may { "may " } else { "may not deploy" };
        assert_eq!(in_short(&verdict(&asked)), expected, "{who:?} {standing:?}");
        // What everybody reads does not depend on who asks, and a key is nobody.
        assert_eq!(in_short(&verdict(&Question { asker: Asker::Anyone, ..asked })), "may ");
        assert_eq!(in_short(&verdict(&Question { asker: Asker::Key, ..asked })), "no person");
    }
}

#[test]
fn project_and_group_must_both_allow_it() {
    let mut protected = protected(&[]);
    protected.protections.push(Protection {
        origin: Origin::Group(OPS),
        may_deploy: vec![Who::Role(AccessLevel::OWNER)],
        approvals: vec![],
    });
    let of_group = |level| standing(AccessLevel::MAINTAINER, &[member(OPS, level, true)]);
    for (standing, said) in [
        (maintainer(), "may not deploy"),
        (of_group(AccessLevel::MAINTAINER), "may not deploy"),
        (of_group(AccessLevel::OWNER), "may "),
        (
            Standing { level: Some(AccessLevel::DEVELOPER), ..of_group(AccessLevel::OWNER) },
            "may not deploy",
        ),
    ] {
        let ada = person(ADA);
        let asker = Asker::Person(&ada, &standing);
        let asked = Question { gitlab: Ok(Some(&protected)), ..free(asker) };
        assert_eq!(in_short(&verdict(&asked)), said, "{standing:?}");
    }
}

#[test]
fn approvals_count_by_gitlabs_rules() {
    let by_ops = |required| rule(&[ops(GroupReach::Direct)], required);
    let both = [by_ops(1), rule(&[maintainers()], 1)];
    let maintainer_of_ops = || Standing { level: Some(AccessLevel::MAINTAINER), ..of_ops() };
    for (approvals, reviews, said) in [
        (vec![by_ops(2)], vec![], "needs 0/2 []"),
        (vec![by_ops(2)], vec![approved(BOB, of_ops(), 1)], "needs 1/2 [bob]"),
        (
            vec![by_ops(2)],
            vec![approved(CY, of_ops(), 2), approved(BOB, of_ops(), 1)],
            "may 2/2 [bob cy]",
        ),
        // Twice by the same person is once.
        (
            vec![by_ops(2)],
            vec![approved(BOB, of_ops(), 1), approved(BOB, of_ops(), 2)],
            "needs 1/2 [bob]",
        ),
        // Whom no rule means does not count, nor who has lost the right since.
        (vec![by_ops(1)], vec![approved(BOB, maintainer(), 1)], "needs 0/1 []"),
        (vec![by_ops(1)], vec![approved(BOB, Standing::default(), 1)], "needs 0/1 []"),
        // An approval counts for one rule, and for the one where it is needed.
        (both.to_vec(), vec![approved(BOB, maintainer_of_ops(), 1)], "needs 1/1 [bob] 0/1 []"),
        (
            both.to_vec(),
            vec![approved(BOB, maintainer_of_ops(), 1), approved(CY, of_ops(), 2)],
            "may 1/1 [cy] 1/1 [bob]",
        ),
        // Who started it does not count.
        (vec![by_ops(1)], vec![approved(ADA, of_ops(), 1)], "needs 0/1 []"),
    ] {
        let (ada, by) = (person(ADA), maintainer());
        let protected = protected(&approvals);
        let asked = Question {
            gitlab: Ok(Some(&protected)),
            reviews: &reviews,
            made_by: &[ADA],
            ..free(Asker::Person(&ada, &by))
        };
        assert_eq!(in_short(&verdict(&asked)), said, "{reviews:?}");
    }
}

#[test]
fn who_started_it_may_approve_where_the_project_allows_it() {
    let own = rule(&[ops(GroupReach::Direct)], 1);
    let mut protected = protected(std::slice::from_ref(&own));
    protected.allows_own_approval = true;
    let reviews = [approved(ADA, of_ops(), 1)];
    let asked = Question {
        gitlab: Ok(Some(&protected)),
        reviews: &reviews,
        made_by: &[ADA],
        ..free(Asker::Anyone)
    };
    assert_eq!(in_short(&verdict(&asked)), "may 1/1 [ada]");
    // For the stack's own rule it never counts.
    let asked = Question { own: Some(&own), ..asked };
    assert_eq!(in_short(&verdict(&asked)), "needs 1/1 [ada] 0/1 []");
    let asked = Question { gitlab: Ok(None), ..asked };
    assert_eq!(in_short(&verdict(&asked)), "needs 0/1 []");
}

#[test]
fn the_stacks_own_rule_counts_besides_gitlabs() {
    let own = rule(&[maintainers(), user(CY)], 1);
    let protected = protected(&[rule(&[maintainers()], 1)]);
    let reviews = [approved(BOB, maintainer(), 1)];
    let asked = Question {
        gitlab: Ok(Some(&protected)),
        own: Some(&own),
        reviews: &reviews,
        ..free(Asker::Anyone)
    };
    assert_eq!(in_short(&verdict(&asked)), "may 1/1 [bob] 1/1 [bob]");
    // An administrator of GitLab is meant by GitLab's rules, not by the stack's.
    let admin = Standing { is_gitlab_admin: true, ..Standing::default() };
    let reviews = [approved(BOB, admin, 1)];
    let asked = Question { reviews: &reviews, ..asked };
    assert_eq!(in_short(&verdict(&asked)), "needs 1/1 [bob] 0/1 []");
    // Where nothing protects the environment, a key may confirm what was approved.
    let reviews = [approved(CY, developer(), 1)];
    let asked = Question { gitlab: Ok(None), reviews: &reviews, asker: Asker::Key, ..asked };
    assert_eq!(in_short(&verdict(&asked)), "may 1/1 [cy]");
}

#[test]
fn a_rejection_stands_until_the_same_person_approves() {
    let by_ops = [rule(&[ops(GroupReach::Direct)], 1)];
    let reject = |by, standing, minute| reviewed(by, standing, Decision::Reject, minute);
    for (reviews, said) in [
        (vec![reject(BOB, of_ops(), 1)], "rejected by bob"),
        (vec![reject(BOB, of_ops(), 1), approved(CY, of_ops(), 2)], "rejected by bob"),
        (vec![reject(BOB, of_ops(), 1), approved(BOB, of_ops(), 2)], "may 1/1 [bob]"),
        (vec![reject(BOB, of_ops(), 2), approved(BOB, of_ops(), 1)], "rejected by bob"),
        // Whoever started it may not approve it, but reject it.
        (vec![reject(ADA, of_ops(), 1)], "rejected by ada"),
        // A rejection by somebody whom no rule means is none.
        (vec![reject(BOB, maintainer(), 1), approved(CY, of_ops(), 2)], "may 1/1 [cy]"),
    ] {
        let protected = protected(&by_ops);
        let asked = Question {
            gitlab: Ok(Some(&protected)),
            reviews: &reviews,
            made_by: &[ADA],
            ..free(Asker::Anyone)
        };
        assert_eq!(in_short(&verdict(&asked)), said, "{reviews:?}");
    }
}

#[test]
fn what_comes_first_is_said() {
    let protected = protected(&[rule(&[ops(GroupReach::Direct)], 1)]);
    let (ada, by) = (person(ADA), developer());
    let rejected = [reviewed(BOB, of_ops(), Decision::Reject, 1)];
    let given = [approved(BOB, of_ops(), 1)];
    let not_approved = BroughtIn::NotApproved(MergeRequestIid(12));
    let beside = BroughtIn::Beside(Beside::TooMany(50));
    let all = Question {
        gitlab: Ok(Some(&protected)),
        brought_in: Ok(&not_approved),
        reviews: &rejected,
        ..free(Asker::Person(&ada, &by))
    };
    let by_key = Override { key: "ops".to_owned(), reason: "fire".to_owned() };
    let for_nothing = Override { reason: " ".to_owned(), ..by_key.clone() };
    let (pushed, approved) =
        (BroughtIn::WithoutMergeRequest, BroughtIn::Approved(MergeRequestIid(12)));
    let (without, merged) = (Ok(&pushed), Ok(&approved));
    for (asked, said) in [
        (Question { asker: Asker::Override(&by_key), gitlab: Err("down"), ..all }, "overridden"),
        (Question { gitlab: Err("down"), ..all }, "not yet: down"),
        (Question { brought_in: Err("down"), ..all }, "not yet: down"),
        (all, "rejected by bob"),
        (Question { reviews: &[], ..all }, "!12 is not"),
        (Question { reviews: &[], brought_in: without, ..all }, "no merge request"),
        (Question { reviews: &given, brought_in: Ok(&beside), ..all }, "what is applied with it"),
        (Question { reviews: &[], brought_in: merged, ..all }, "needs 0/1 []"),
        (Question { reviews: &given, brought_in: merged, ..all }, "may not deploy"),
        (
            Question {
                reviews: &given,
                brought_in: merged,
                asker: Asker::Override(&for_nothing),
                ..all
            },
            "no person",
        ),
    ] {
        assert_eq!(in_short(&verdict(&asked)), said);
    }
    let asked = Question { reviews: &given, brought_in: merged, asker: Asker::Anyone, ..all };
    let Verdict::MayConfirm { merge_request, .. } = verdict(&asked) else { panic!() };
    assert_eq!(merge_request, Some(MergeRequestIid(12)));
}

/// A question about a run of Ada's.
fn of_ada<'a>(protected: &'a Protected, own: &'a Rule) -> Question<'a> {
    Question { gitlab: Ok(Some(protected)), own: Some(own), made_by: &[ADA], ..free(Asker::Anyone) }
}

#[test]
fn who_may_review_is_told_before() {
    let strict = protected(&[rule(&[ops(GroupReach::Direct)], 1)]);
    let lenient = Protected { allows_own_approval: true, ..strict.clone() };
    let own = rule(&[maintainers()], 1);
    let asked = of_ada(&strict, &own);
    let (approve, reject) = (Decision::Approve, Decision::Reject);
    let of_all = vec![ops(GroupReach::Direct), maintainers()];
    let away = Question { gitlab: Err("down"), ..asked };
    let nothing = Question { gitlab: Ok(None), own: None, ..asked };
    let allowed = of_ada(&lenient, &own);
    for (asked, by, standing, decision, expected) in [
        (asked, BOB, of_ops(), approve, Ok(())),
        (asked, BOB, maintainer(), reject, Ok(())),
        (asked, BOB, developer(), reject, Err(NotReviewer::NotMeant { who: of_all })),
        (asked, ADA, of_ops(), approve, Err(NotReviewer::OwnRun)),
        (asked, ADA, of_ops(), reject, Ok(())),
        (away, BOB, of_ops(), approve, Err(NotReviewer::NotYet { why: "down".to_owned() })),
        (nothing, BOB, maintainer(), approve, Err(NotReviewer::NotAsked)),
        (allowed, ADA, of_ops(), approve, Ok(())),
        // The stack's own rule never counts whoever made the run.
        (allowed, ADA, maintainer(), approve, Err(NotReviewer::OwnRun)),
    ] {
        let told = may_review(&asked, by, &standing, decision);
        assert_eq!(told, expected, "{by} {standing:?} {decision:?}");
    }
}
