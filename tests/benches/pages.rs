//! A loop over the pages of one API: the executor beside a hand-written poller.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    SHARE, Size,
    hand::Hand,
    machine,
    report::{Section, median, micros, spread},
    stand::Stand,
    upstream::Seen,
};

const KIB: usize = 1024;

/// What is measured at one page size.
struct Load {
    name: &'static str,
    bytes: usize,
    /// Loops at once, so that the core has always something to do.
    loops: usize,
    /// Pages of each loop.
    pages: u64,
}

/// A loop with a condition to go on, two more conditions, and a value kept for the next run.
fn plan(load: &Load) -> Value {
    let (bytes, pages) = (load.bytes, load.pages);
    json!({
        "step": {
            "id": "pages",
            "url": format!(
                "{{{{ config.base_url }}}}/pages?size={bytes}&pages={pages}&cursor={{{{ response.body.next || '0' }}}}"
            ),
            "while": "response.body.next",
            "retry_when": "response.body.busy",
            "break_when": "response.body.last",
            "set_context": {"cursor": "response.body.next"},
        },
        "max_loops": pages + 1,
        "max_execution_seconds": 3600,
    })
}

/// One measurement of one of the two.
struct Taken {
    cpu_us: f64,
    per_second: f64,
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests")]
fn taken(cpu: Duration, seen: Seen, load: &Load) -> Taken {
    assert_eq!(seen.requests, load.pages * load.loops as u64, "every page is asked for once");
    let requests = seen.requests as f64;
    Taken { cpu_us: micros(cpu) / requests, per_second: requests / seen.span.as_secs_f64() }
}

async fn by_orchid(stand: &Stand, load: &Load) -> Taken {
    let plan = plan(load);
    stand.upstream.reset();
    let before = machine::cpu_time(stand.executor());
    stand.run(&plan, load.loops).await;
    taken(machine::cpu_time(stand.executor()) - before, stand.upstream.seen(), load)
}

fn by_hand(stand: &Stand, hand: &mut Hand, load: &Load) -> Taken {
    stand.upstream.reset();
    let before = machine::cpu_time(hand.id());
    tokio::task::block_in_place(|| hand.run(load.bytes, load.pages, load.loops));
    taken(machine::cpu_time(hand.id()) - before, stand.upstream.seen(), load)
}

pub(crate) async fn measure(size: Size) -> Section {
    let rounds = size.of(5, 9);
    let pages = |short: u64| size.of(short, 4 * short) / SHARE;
    let loads = [
        Load { name: "1 KiB", bytes: KIB, loops: 16, pages: pages(1500) },
        Load { name: "100 KiB", bytes: 100 * KIB, loops: 8, pages: pages(250) },
        Load { name: "1 MiB", bytes: 1024 * KIB, loops: 4, pages: pages(75) },
    ];
    let mut section = Section::new(
        "Pages, beside a hand-written poller",
        format!(
            "One executor on one core runs loops with `while`, two more conditions and one `set_context`, every page into Kafka (mock \
             broker, `acks=all`, idempotent, lz4, linger 5 ms). The other is Rust by hand: reqwest, a serde struct with just the cursor, \
             rdkafka with the same settings, the body as the whole message. CPU time is user and system of the whole process, from \
             `/proc`; {rounds} rounds of each in turn, medians (least – most). Goal: at least 0.80 of its requests a second at 1 KiB, 0.85 above."
        ),
        &[
            "pages",
            "executor, CPU µs a request",
            "by hand, CPU µs",
            "ratio by CPU",
            "executor, requests/s",
            "by hand, requests/s",
            "ratio by rate",
        ],
    );
    let stand = Stand::start(Duration::ZERO, 16 << 20).await;
    let mut hand = Hand::start(&stand.upstream.url(), stand.kafka.brokers(), &stand.topics.responses);
    for load in &loads {
        let warm = Load { pages: load.pages.div_ceil(10), ..*load };
        by_orchid(&stand, &warm).await;
        by_hand(&stand, &mut hand, &warm);
        let mut taken = Vec::new();
        for _ in 0..rounds {
            taken.push((by_orchid(&stand, load).await, by_hand(&stand, &mut hand, load)));
        }
        let column = |pick: fn(&(Taken, Taken)) -> f64| taken.iter().map(pick).collect::<Vec<f64>>();
        section.row([
            load.name.to_owned(),
            spread(&column(|(ours, _)| ours.cpu_us), 1),
            spread(&column(|(_, hand)| hand.cpu_us), 1),
            format!("**{:.2}**", median(&column(|(ours, hand)| hand.cpu_us / ours.cpu_us))),
            format!("{:.0}", median(&column(|(ours, _)| ours.per_second))),
            format!("{:.0}", median(&column(|(_, hand)| hand.per_second))),
            format!("{:.2}", median(&column(|(ours, hand)| ours.per_second / hand.per_second))),
        ]);
    }
    drop(hand);
    stand.stop().await;
    section
}
