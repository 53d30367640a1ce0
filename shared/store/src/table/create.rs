//! Makes the table, on one machine.

use super::{ATTENTION_INDEX, Store, StoreError, unavailable};
use aws_sdk_dynamodb::{
    error::BuildError,
    types::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType,
        Projection, ProjectionType, ScalarAttributeType,
    },
};

impl Store {
    /// Makes the table when it is missing, for one machine; on AWS the template does it.
    pub async fn create_table_if_missing(&self) -> Result<(), StoreError> {
        let attribute = |name: &str, kind| {
            AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build()
        };
        let key = |name: &str, kind| {
            KeySchemaElement::builder().attribute_name(name).key_type(kind).build()
        };
        let made = async {
            let index = GlobalSecondaryIndex::builder()
                .index_name(ATTENTION_INDEX)
                .key_schema(key("shard", KeyType::Hash)?)
                .key_schema(key("due", KeyType::Range)?)
                .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build())
                .build()?;
            Ok::<_, BuildError>(
                self.client
                    .create_table()
                    .table_name(&self.table)
                    .billing_mode(BillingMode::PayPerRequest)
                    .attribute_definitions(attribute("pk", ScalarAttributeType::S)?)
                    .attribute_definitions(attribute("sk", ScalarAttributeType::S)?)
                    .attribute_definitions(attribute("shard", ScalarAttributeType::N)?)
                    .attribute_definitions(attribute("due", ScalarAttributeType::N)?)
                    .key_schema(key("pk", KeyType::Hash)?)
                    .key_schema(key("sk", KeyType::Range)?)
                    .global_secondary_indexes(index)
                    .send()
                    .await,
            )
        };
        match made.await.map_err(|error| StoreError::Unavailable(error.to_string()))? {
            Ok(_) => Ok(()),
            Err(error)
                if error.as_service_error().is_some_and(|e| e.is_resource_in_use_exception()) =>
            {
                Ok(())
            }
            Err(error) => Err(unavailable(error)),
        }
    }
}
