//! Who calls, and how long a call may take: put on every request on its way out.

use std::time::Duration;

use tonic::{
    GrpcMethod, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
};
use uuid::Uuid;

const TENANT: &str = "x-tenant-id";
const DEADLINE: &str = "grpc-timeout";
/// Methods that answer with a stream: a deadline would cut it.
const STREAMS: [&str; 1] = ["WatchExecution"];

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// For a control plane in development mode, which believes what it is told.
    Development {
        /// Whose data; none for operators' calls.
        tenant: Option<Uuid>,
    },
}

/// Puts the caller's identity and the deadline on each request.
#[derive(Debug, Clone)]
pub struct RequestInterceptor {
    credentials: Credentials,
    tenant: Option<MetadataValue<Ascii>>,
    deadline: Duration,
}

impl RequestInterceptor {
    pub(crate) fn new(credentials: Credentials, deadline: Duration) -> Self {
        let Credentials::Development { tenant } = &credentials;
        let tenant = tenant.and_then(|tenant| tenant.to_string().parse().ok());
        Self { credentials, tenant, deadline }
    }

    pub(crate) fn with_credentials(&self, credentials: Credentials) -> Self {
        Self::new(credentials, self.deadline)
    }

    pub(crate) fn into_credentials(self) -> Credentials {
        self.credentials
    }
}

impl Interceptor for RequestInterceptor {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(tenant) = &self.tenant {
            request.metadata_mut().insert(TENANT, tenant.clone());
        }
        let method = request.extensions().get::<GrpcMethod<'static>>().map(GrpcMethod::method);
        let streams = method.is_some_and(|method| STREAMS.contains(&method));
        if !streams && request.metadata().get(DEADLINE).is_none() {
            request.set_timeout(self.deadline);
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    fn sent(request: Request<()>) -> Request<()> {
        let tenant = Some(Uuid::from_u128(7));
        RequestInterceptor::new(Credentials::Development { tenant }, Duration::from_secs(3))
            .call(request)
            .unwrap()
    }

    fn deadline(request: &Request<()>) -> Option<&str> {
        request.metadata().get(DEADLINE).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn a_call_names_the_tenant_and_has_a_deadline() {
        let request = sent(Request::new(()));
        assert_eq!(request.metadata().get(TENANT).unwrap(), "00000000-0000-0000-0000-000000000007");
        assert_eq!(deadline(&request), Some("3000000u"));
    }

    #[test]
    fn a_deadline_that_the_caller_set_stays() {
        let mut request = Request::new(());
        request.set_timeout(Duration::from_millis(5));
        assert_eq!(deadline(&sent(request)), Some("5000000n"));
    }

    #[test]
    fn a_stream_has_no_deadline() {
        let mut request = Request::new(());
        let method = GrpcMethod::new("orchid.v1.ExecutionService", "WatchExecution");
        request.extensions_mut().insert(method);
        assert_eq!(deadline(&sent(request)), None);
    }

    #[test]
    fn every_streaming_method_of_the_contract_is_known() {
        let set = FileDescriptorSet::decode(orchid_proto::DESCRIPTOR_SET).unwrap();
        let files = set.file.iter().filter(|file| file.package() != "orchid.executor.v1");
        let methods = files.flat_map(|file| &file.service).flat_map(|service| &service.method);
        let streaming: Vec<&str> =
            methods.filter(|method| method.server_streaming()).map(|method| method.name()).collect();
        assert_eq!(streaming, STREAMS);
    }
}
