-- One database a service; their tables are made by `migrate`.
CREATE DATABASE shop_users;
CREATE DATABASE shop_catalog;
CREATE DATABASE shop_orders;
CREATE DATABASE shop_payments;
CREATE DATABASE shop_notifications;
