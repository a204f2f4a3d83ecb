// A Vendure shop that sells coffee.

import {
  ChannelService, CurrencyCode, LanguageCode, Logger, ProductService, ProductVariantService, RequestContextService,
  TaxCategoryService, bootstrap, type InitialData,
} from "@vendure/core";
import { GlobalFlag } from "@vendure/common/lib/generated-types";
import { populateInitialData } from "@vendure/core/cli";
import { config } from "./vendure-config";

const shop: InitialData = {
  defaultLanguage: LanguageCode.en,
  defaultZone: "Indonesia",
  countries: [{ code: "ID", name: "Indonesia", zone: "Indonesia" }],
  taxRates: [{ name: "PPN", percentage: 11 }],
  shippingMethods: [{ name: "By bicycle", price: 0 }],
  paymentMethods: [{ name: "QLink", handler: { code: "qlink", arguments: [] } }],
  collections: [],
};

type App = Awaited<ReturnType<typeof bootstrap>>;

/** Fills the shelves of a shop that is new. */
async function stock(app: App): Promise<void> {
  const contexts = app.get(RequestContextService);
  const channels = app.get(ChannelService);
  let ctx = await contexts.create({ apiType: "admin" });
  if ((await app.get(ProductService).findAll(ctx)).totalItems > 0) return;
  await channels.update(ctx, {
    id: ctx.channelId, pricesIncludeTax: true, defaultCurrencyCode: CurrencyCode.IDR, availableCurrencyCodes: [CurrencyCode.IDR],
  });
  await populateInitialData(app, shop);
  ctx = await contexts.create({ apiType: "admin" }); // of the channel as it is now
  const [tax] = (await app.get(TaxCategoryService).findAll(ctx)).items;
  const coffee = { languageCode: LanguageCode.en, name: "Coffee", slug: "coffee", description: "" };
  const product = await app.get(ProductService).create(ctx, { enabled: true, translations: [coffee] });
  await app.get(ProductVariantService).create(ctx, [{
    productId: product.id, translations: [coffee], sku: "COFFEE", price: 1500000, taxCategoryId: tax?.id, trackInventory: GlobalFlag.FALSE,
  }]);
}

bootstrap(config).then(stock).then(() => Logger.info("the shelves are full"), (err) => {
  Logger.error(String(err), undefined, err.stack);
  process.exit(1);
});
