//! One machine for several runs. That it is clean in between is tested with the real program, in a
//! build: cleaning ends everything that its process has started, which here is all other tests.

use crate::support::World;
use gantry_runner::further::{Machine, run_all};

#[tokio::test]
async fn a_machine_whose_runs_have_no_user_of_their_own_takes_one() {
    let mut w = World::new(&[("infra/main.tf", "# empty")]).await;
    run_all(w.offer(), Machine { runs: 2, until: None }).await.unwrap();
    assert_eq!(w.api.data().asked_further, 0);
    assert_eq!(w.api.reports().len(), 2, "{:?}", w.api.reports());
}
