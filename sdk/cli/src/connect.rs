//! Whom the commands talk to: what the flags say, else the development stack that runs on this machine.

use orchid_sdk::{Client, Credentials};
use uuid::Uuid;

use crate::{
    args::Global,
    dev::state::{DevState, KafkaState},
    exit::UsageError,
};

/// What the flags and the running stack say together.
pub(crate) struct Target {
    endpoint: Option<String>,
    tenant: Option<Uuid>,
    dev: Option<DevState>,
}

impl Target {
    /// Reads the running stack's state, where there is one.
    pub(crate) fn find(global: &Global) -> anyhow::Result<Self> {
        let dev = DevState::running(&global.data)?;
        let endpoint = global.endpoint.clone().or_else(|| dev.as_ref().map(|dev| dev.grpc.clone()));
        // The stack's tenant means nothing to another control plane.
        let own = dev.as_ref().filter(|_| global.endpoint.is_none()).map(|dev| dev.tenant);
        Ok(Self { endpoint, tenant: global.tenant.or(own), dev })
    }

    /// A client that acts for the tenant.
    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        let tenant = Some(self.tenant()?);
        Ok(Client::connect(self.endpoint()?, Credentials::Development { tenant }).await?)
    }

    /// A client for operators' calls.
    pub(crate) async fn operator(&self) -> anyhow::Result<Client> {
        Ok(Client::connect(self.endpoint()?, Credentials::Development { tenant: None }).await?)
    }

    /// The tenant that commands are for.
    pub(crate) fn tenant(&self) -> Result<Uuid, UsageError> {
        self.tenant.ok_or_else(|| {
            UsageError("no tenant: name one by --tenant or ORCHID_TENANT, or start `orchid dev`".to_owned())
        })
    }

    /// The broker of the running stack.
    pub(crate) fn kafka(&self) -> Option<&KafkaState> {
        self.dev.as_ref().map(|dev| &dev.kafka)
    }

    /// What `${NAME}` stands for, as the running stack says.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        self.dev.as_ref()?.variables.get(name).cloned()
    }

    fn endpoint(&self) -> Result<&str, UsageError> {
        self.endpoint.as_deref().ok_or_else(|| {
            UsageError(
                "no control plane: name one by --endpoint or ORCHID_ENDPOINT, or start `orchid dev`"
                    .to_owned(),
            )
        })
    }
}
