//! A config's transport: validated on writes, sealed at rest, and applied by the executor.

use orchid_proto::v1;
use orchid_tests::client::structure;
use orchid_tests::{FakeUpstream, StackOptions, TestStack, UpstreamReply};
use prost_types::FieldMask;
use serde_json::json;
use tonic_types::StatusExt as _;

const PASSWORD: &str = "under-lock-and-key";

fn config(transport: v1::Transport) -> v1::Config {
    v1::Config {
        integration: "shop".to_owned(),
        key: "far".to_owned(),
        values: Some(structure(&json!({"base_url": "http://orders.example.com"}))),
        transport: Some(transport),
        ..v1::Config::default()
    }
}

fn by(proxy: String, hosts: &[&str]) -> v1::Transport {
    v1::Transport {
        proxy,
        allowed_hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        ..v1::Transport::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_use_the_configs_proxy_without_leaking_its_password() {
    // An HTTP server suffices as a proxy: it responds for every host.
    let proxy = FakeUpstream::orders(2, 3, false).await;
    let address = proxy.url().replace("http://", "");
    let stack = TestStack::start(StackOptions::default()).await;
    let tenant = stack.tenant().await;
    tenant.shop("http://127.0.0.1:1").await;
    let transport = by(format!("http://me:{PASSWORD}@{address}"), &[]);
    let create =
        v1::CreateConfigRequest { config: Some(config(transport)), ..v1::CreateConfigRequest::default() };
    let created = tenant.configs().create_config(tenant.request(create)).await.expect("OK").into_inner();
    let shown = created.transport.expect("a transport");
    assert_eq!(shown.proxy, format!("http://[SECRET]@{address}"));
    let rows = stack.database.execute("SELECT configs::text FROM configs");
    assert!(!rows.contains(PASSWORD) && !rows.contains(&hex::encode(PASSWORD)), "{rows}");

    // A transport that was read, with masked secrets, can be written again with other hosts.
    let update = v1::UpdateConfigRequest {
        config: Some(config(v1::Transport { allowed_hosts: vec!["*.example.com".to_owned()], ..shown })),
        update_mask: Some(FieldMask { paths: vec!["transport".to_owned()] }),
    };
    let updated = tenant.configs().update_config(tenant.request(update)).await.expect("OK").into_inner();
    assert_eq!(updated.transport.expect("a transport").allowed_hosts, ["*.example.com"]);

    tenant.plan("orders", &crate::plans::orders()).await;
    let run = tenant.trigger("orders", "far").await;
    tenant.success_of(&run.id).await;
    let seen = proxy.requests();
    assert_eq!(seen.len(), 2);
    for request in &seen {
        assert_eq!(request.headers["host"], "orders.example.com");
        assert!(request.headers["proxy-authorization"].starts_with("Basic "));
    }
    let mut reader = stack.reader();
    for message in reader.all() {
        let text = format!("{:?} {}", message.headers, String::from_utf8_lossy(&message.payload));
        assert!(!text.contains(PASSWORD), "{text}");
    }
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disallowed_host_is_not_requested() {
    let upstream = FakeUpstream::start(|_| UpstreamReply::ok(json!({"items": [], "next": null}))).await;
    let stack = TestStack::start(StackOptions::default()).await;
    let tenant = stack.tenant().await;
    tenant.shop(&upstream.url()).await;
    let main = v1::Config { key: "main".to_owned(), ..config(by(String::new(), &["*.example.com"])) };
    let update = v1::UpdateConfigRequest {
        config: Some(main),
        update_mask: Some(FieldMask { paths: vec!["transport".to_owned()] }),
    };
    tenant.configs().update_config(tenant.request(update)).await.expect("OK");
    tenant.plan("orders", &crate::plans::orders()).await;
    let run = tenant.trigger("orders", "main").await;
    let ended = tenant.end_of(&run.id).await;
    assert_eq!(ended.error.expect("an error").code, "HOST_NOT_ALLOWED");
    assert_eq!(upstream.count(), 0);
    stack.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_transport_is_refused_without_leaking_secrets() {
    let stack = TestStack::start(StackOptions { executors: 0, ..StackOptions::default() }).await;
    let tenant = stack.tenant().await;
    tenant.shop("http://127.0.0.1:1").await;
    let transport = v1::Transport {
        ca: "no pem".to_owned(),
        client_certificate: Some(v1::ClientCertificate::default()),
        ..by(format!("gopher://me:{PASSWORD}@proxy.test"), &["https://a.test"])
    };
    let create =
        v1::CreateConfigRequest { config: Some(config(transport)), ..v1::CreateConfigRequest::default() };
    let refused = tenant.configs().create_config(tenant.request(create)).await.expect_err("faults");
    let details = refused.get_error_details();
    let violations = &details.bad_request().expect("BadRequest").field_violations;
    let fields: Vec<&str> = violations.iter().map(|one| one.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "/transport/allowed_hosts/0",
            "/transport/proxy",
            "/transport/client_certificate/certificate",
            "/transport/client_certificate/key",
            "/transport/ca",
        ],
        "{violations:#?}"
    );
    assert!(!format!("{refused:?} {violations:?}").contains(PASSWORD));
}
