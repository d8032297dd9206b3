//! Decides which control plane, tenant and broker a command talks to: the flags, else the
//! development stack that runs on this machine.

use orchid_sdk::{Client, Credentials};
use uuid::Uuid;

use crate::args::GlobalArgs;
use crate::dev::state::{DevState, KafkaState};
use crate::exit::UsageError;

/// The control plane, tenant and broker of a command.
pub(crate) struct ConnectionTarget {
    endpoint: Option<String>,
    tenant: Option<Uuid>,
    dev: Option<DevState>,
}

impl ConnectionTarget {
    /// Combines the flags with the state of the running stack, if there is one.
    pub(crate) fn resolve(global: &GlobalArgs) -> anyhow::Result<Self> {
        let dev = DevState::running(&global.data)?;
        let endpoint = global.endpoint.clone().or_else(|| dev.as_ref().map(|dev| dev.grpc.clone()));
        // Another control plane does not know the stack's tenant.
        let default_tenant = dev.as_ref().filter(|_| global.endpoint.is_none()).map(|dev| dev.tenant);
        Ok(Self { endpoint, tenant: global.tenant.or(default_tenant), dev })
    }

    /// Connects a client that acts for the tenant.
    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        let tenant = Some(self.tenant()?);
        Ok(Client::connect(self.endpoint()?, Credentials::Development { tenant }).await?)
    }

    /// Connects a client for operators' calls, which name no tenant.
    pub(crate) async fn operator(&self) -> anyhow::Result<Client> {
        Ok(Client::connect(self.endpoint()?, Credentials::Development { tenant: None }).await?)
    }

    /// Returns the tenant that the command acts for.
    pub(crate) fn tenant(&self) -> Result<Uuid, UsageError> {
        self.tenant.ok_or_else(|| {
            UsageError("no tenant: pass --tenant, set ORCHID_TENANT, or start `orchid dev`".to_owned())
        })
    }

    /// Returns the broker of the running stack.
    pub(crate) fn kafka(&self) -> Option<&KafkaState> {
        self.dev.as_ref().map(|dev| &dev.kafka)
    }

    /// Returns the running stack's value for `${NAME}` in applied files.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        self.dev.as_ref()?.variables.get(name).cloned()
    }

    fn endpoint(&self) -> Result<&str, UsageError> {
        self.endpoint.as_deref().ok_or_else(|| {
            UsageError(
                "no control plane: pass --endpoint, set ORCHID_ENDPOINT, or start `orchid dev`".to_owned(),
            )
        })
    }
}
