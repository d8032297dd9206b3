//! The caller's identity and the deadline, which an interceptor adds to every request.

use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{GrpcMethod, Request, Status};
use uuid::Uuid;

const TENANT_HEADER: &str = "x-tenant-id";
const TIMEOUT_HEADER: &str = "grpc-timeout";
/// Streaming methods, which get no deadline because it would end the stream.
const STREAMING_METHODS: [&str; 1] = ["WatchExecution"];

/// The identity of the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// An unverified identity, which only a control plane in development mode accepts.
    Development {
        /// Tenant of the caller; `None` for calls of operators.
        tenant: Option<Uuid>,
    },
}

/// An interceptor that adds the caller's identity and a deadline to each request.
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
            request.metadata_mut().insert(TENANT_HEADER, tenant.clone());
        }
        let method = request.extensions().get::<GrpcMethod<'static>>().map(GrpcMethod::method);
        let is_streaming = method.is_some_and(|method| STREAMING_METHODS.contains(&method));
        // A deadline that the caller has set takes precedence.
        if !is_streaming && request.metadata().get(TIMEOUT_HEADER).is_none() {
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

    fn intercept(request: Request<()>) -> Request<()> {
        let tenant = Some(Uuid::from_u128(7));
        RequestInterceptor::new(Credentials::Development { tenant }, Duration::from_secs(3))
            .call(request)
            .unwrap()
    }

    fn deadline(request: &Request<()>) -> Option<&str> {
        request.metadata().get(TIMEOUT_HEADER).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn call_has_tenant_and_deadline() {
        let request = intercept(Request::new(()));
        assert_eq!(request.metadata().get(TENANT_HEADER).unwrap(), "00000000-0000-0000-0000-000000000007");
        assert_eq!(deadline(&request), Some("3000000u"));
    }

    #[test]
    fn deadline_of_the_caller_is_kept() {
        let mut request = Request::new(());
        request.set_timeout(Duration::from_millis(5));
        assert_eq!(deadline(&intercept(request)), Some("5000000n"));
    }

    #[test]
    fn stream_has_no_deadline() {
        let mut request = Request::new(());
        let method = GrpcMethod::new("orchid.v1.ExecutionService", "WatchExecution");
        request.extensions_mut().insert(method);
        assert_eq!(deadline(&intercept(request)), None);
    }

    #[test]
    fn every_streaming_method_of_the_api_is_listed() {
        let set = FileDescriptorSet::decode(orchid_proto::DESCRIPTOR_SET).unwrap();
        let files = set.file.iter().filter(|file| file.package() != "orchid.executor.v1");
        let methods = files.flat_map(|file| &file.service).flat_map(|service| &service.method);
        let streaming: Vec<&str> =
            methods.filter(|method| method.server_streaming()).map(|method| method.name()).collect();
        assert_eq!(streaming, STREAMING_METHODS);
    }
}
