// The configuration of the example's shop. PostgreSQL is found by its own
// variables: PGHOST, PGUSER, PGDATABASE and so on.

import { BigIntMoneyStrategy, type VendureConfig } from "@vendure/core";
import { QlinkPlugin } from "./qlink-plugin";

process.env.VENDURE_DISABLE_TELEMETRY ??= "true"; // it stays on this machine

export const config: VendureConfig = {
  apiOptions: {
    hostname: "127.0.0.1", port: Number(process.env.SHOP_PORT ?? 8097), trustProxy: "loopback", cors: false, csrfPrevention: true,
  },
  authOptions: {
    superadminCredentials: { identifier: "superadmin", password: process.env.SHOP_ADMIN_PASSWORD ?? "superadmin" },
    cookieOptions: { secret: process.env.SHOP_COOKIE_SECRET ?? "of-the-example" },
  },
  dbConnectionOptions: { type: "postgres", synchronize: true }, // yours has migrations
  // 21474836.47 is all that Vendure's own strategy has room for: little, in rupiah.
  entityOptions: { moneyStrategy: new BigIntMoneyStrategy() },
  paymentOptions: { paymentMethodHandlers: [] }, // the plugin adds its own
  plugins: [
    QlinkPlugin.init({
      url: `http://127.0.0.1:${process.env.SHOP_SITE_PORT ?? 8095}/qlink`,
      secret: process.env.SHOP_NOTIFY_SECRET ?? "whsec_c2hvcC1ub3RpZmljYXRpb25zLW9mLXRoZS1leGFtcGxlIQ==",
    }),
  ],
};
