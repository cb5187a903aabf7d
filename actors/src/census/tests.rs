use super::*;
use actix::{Actor, AsyncContext, Context, Handler, MessageResult};

/// A child with tables, which never answers when they are none.
struct Child(Vec<(&'static str, u64)>);

impl Actor for Child {
    type Context = Context<Self>;
}

impl Handler<Count> for Child {
    type Result = MessageResult<Count>;

    fn handle(&mut self, _: Count, ctx: &mut Self::Context) -> Self::Result {
        if self.0.is_empty() {
            ctx.wait(actix::fut::wrap_future(std::future::pending()));
        }
        MessageResult(self.0.clone())
    }
}

fn rows(census: &Census) -> Vec<(&str, u64)> {
    let told = census
        .rows
        .iter()
        .filter(|row| !row.table.starts_with("process."));
    told.map(|row| (row.table.as_str(), row.count)).collect()
}

#[actix_rt::test]
async fn who_answers_is_counted_and_who_is_gone_is_named() {
    let child = |rows| Some(Child(rows).start().recipient());
    let gone = {
        let context = Context::<Child>::new();
        context.address().recipient()
    };
    let children = vec![
        ("registry".to_owned(), child(vec![("tracks", 0), ("waiting", 0)])),
        ("shard-0".to_owned(), child(vec![("tracks", 2)])),
        ("shard-1".to_owned(), Some(gone)),
        ("shard-2".to_owned(), None),
    ];
    let census = gather(children, Duration::from_secs(60)).await;
    assert_eq!(
        rows(&census),
        [
            ("registry.tracks", 0),
            ("registry.waiting", 0),
            ("shard-0.tracks", 2)
        ]
    );
    assert_eq!(census.silent, ["shard-1", "shard-2"]);
    assert!(!census.is_empty());
    assert_eq!(census.sum("tracks"), 2);
}

#[test]
fn empty_means_that_everybody_said_so() {
    let row = |table: &str, count| Row {
        table: table.to_owned(),
        count,
    };
    let mut census = Census {
        rows: vec![row("registry.tracks", 0)],
        silent: Vec::new(),
    };
    assert!(census.is_empty());
    assert_eq!(census.to_string(), "empty");
    census.silent.push("shard-0".to_owned());
    assert!(!census.is_empty());
    census.rows.push(row("shard-1.tracks", 3));
    assert_eq!(census.to_string(), "shard-1.tracks 3, shard-0 silent");
}

/// What is counted for the process is counted as long as it lives, a panic included.
#[test]
fn things_count_while_they_live() {
    // No other test of this crate has fetches, so their count is this test's alone.
    let fetches = || {
        let mut rows = live::rows();
        rows.find(|row| row.table == "process.fetch_actors")
            .map(|row| row.count)
    };
    let before = fetches().unwrap();
    let (one, two) = (Counted::new(Thing::Fetches), Counted::new(Thing::Fetches));
    assert_eq!(fetches(), Some(before + 2));
    drop(one);
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _two = two;
        std::panic::resume_unwind(Box::new(()));
    }))
    .unwrap_err();
    assert_eq!(fetches(), Some(before));
}
