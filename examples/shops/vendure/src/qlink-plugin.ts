// Payments through qlink for a Vendure shop. This one file is what to copy:
//
//	plugins: [QlinkPlugin.init({ url: "http://127.0.0.1:8095/qlink", secret: process.env.QLINK_NOTIFY_SECRET! })]
//
// and a payment method with the handler "qlink" in each channel that takes it.
// What it adds is POST /checkout, whose answer qlink makes a payment of, and
// POST /notifications, where it is told how that ended. It needs a database that
// locks rows, and is tried over PostgreSQL.

import {
  ConflictException, Controller, HttpCode, Injectable, Post, Req, Res, UnauthorizedException, UnprocessableEntityException,
} from "@nestjs/common";
import {
  ActiveOrderService, Allow, ConfigService, Ctx, ForbiddenError, HistoryService, LanguageCode, Logger, Order, OrderService,
  PaymentMethodHandler, PaymentMethodService, Permission, PluginCommonModule, RequestContext, RequestContextService,
  Transaction, TransactionalConnection, UserInputError, VendurePlugin, isGraphQlErrorResult, totalCoveredByPayments, type ID,
} from "@vendure/core";
import { HistoryEntryType } from "@vendure/common/lib/generated-types";
import { raw, type Request, type Response } from "express";
import { Webhook } from "standardwebhooks";
import type { EntitySubscriberInterface, Repository, UpdateEvent } from "typeorm";

/** What the plugin has to know. */
export interface QlinkOptions {
  /** Where the shop itself reaches qlink's endpoints. */
  url: string;
  /** The secret of the directive notify: whsec_… */
  secret: string;
}

interface Bill {
  id: string;
  orderCode: string;
  status: string;
  amount: string;
  currency: string;
  /** Another attempt at the order is paid, too. */
  refundDue: boolean;
}

interface Notification {
  type: string;
  data: Bill & { order: { paid: boolean; paidBill: string }; metadata?: { channel?: string } };
}

/**
 * Takes the payments that a notification tells of. The Shop API offers buyers a
 * mutation addPaymentToOrder, which comes here too: their word is not money.
 */
export const qlinkPaymentHandler = new PaymentMethodHandler({
  code: "qlink",
  description: [{ languageCode: LanguageCode.en, value: "QLink" }],
  args: {},
  createPayment(ctx, _order, _amount, _args, paid) {
    if (ctx.apiType !== "admin") throw new ForbiddenError();
    return { state: "Settled", amount: paid.amount, transactionId: paid.bill };
  },
  settlePayment: () => ({ success: true }),
});

/**
 * Keeps others from changing the order until the transaction ends, and returns it
 * as it is now.
 */
function lockOrder(orders: Repository<Order>, where: { id: ID } | { code: string }) {
  return orders.createQueryBuilder().setLock("pessimistic_write").where(where).getOne();
}

/**
 * Vendure writes an order as a whole, as it was read. A buyer who changes the cart,
 * or goes back to it, in the moment of the notification would so write over
 * PaymentSettled.
 */
@Injectable()
class PaidStaysPaid implements EntitySubscriberInterface<Order> {
  constructor(connection: TransactionalConnection) {
    connection.rawConnection.subscribers.push(this);
  }

  listenTo() {
    return Order;
  }

  async beforeUpdate({ entity, manager }: UpdateEvent<Order>) {
    if (!entity?.active) return;
    const now = await lockOrder(manager.getRepository(Order), { id: entity.id });
    const wasDraft = now?.state === "ArrangingPayment"; // and becomes active with this
    if (!now?.active && !wasDraft) throw new UserInputError(`Order ${now?.code} is ${now?.state} by now.`);
  }
}

/** A sum of Vendure's as qlink writes it. There is no float in between. */
function decimal(sum: number, precision: number): string {
  const digits = BigInt(sum).toString().padStart(precision + 1, "0");
  const fraction = digits.slice(digits.length - precision).replace(/0+$/, "");
  return digits.slice(0, digits.length - precision) + (fraction && `.${fraction}`);
}

/** A sum of qlink's as Vendure writes it, or undefined where it is none. */
function minorUnits(amount: string, precision: number): number | undefined {
  const [, whole, fraction = ""] = /^(\d+)(?:\.(\d+?)0*)?$/.exec(amount) ?? [];
  const sum = Number(whole + fraction.padEnd(precision, "0"));
  return whole && fraction.length <= precision && Number.isSafeInteger(sum) ? sum : undefined;
}

@Controller()
export class QlinkController {
  private readonly webhook = new Webhook(QlinkPlugin.options.secret);
  private readonly precision: number;

  constructor(
    config: ConfigService,
    private readonly connection: TransactionalConnection,
    private readonly contexts: RequestContextService,
    private readonly activeOrders: ActiveOrderService,
    private readonly orders: OrderService,
    private readonly paymentMethods: PaymentMethodService,
    private readonly history: HistoryService,
  ) {
    this.precision = config.entityOptions.moneyStrategy.precision ?? 2;
  }

  /**
   * The buyer's active order, for qlink. A second click finds it in ArrangingPayment
   * and is the same order; a cart that has changed since is the same order, too, and
   * ends the payment for what was in it.
   */
  @Post("checkout")
  @HttpCode(201)
  @Allow(Permission.Owner)
  @Transaction()
  async checkout(@Ctx() ctx: RequestContext, @Res({ passthrough: true }) res: Response) {
    const active = await this.activeOrders.getActiveOrder(ctx, undefined);
    const now = active && (await lockOrder(this.connection.getRepository(ctx, Order), { id: active.id }));
    if (!now) throw new ConflictException("There is no order to be paid.");
    if (now.state !== "ArrangingPayment") {
      const moved = await this.orders.transitionToState(ctx, now.id, "ArrangingPayment");
      if (isGraphQlErrorResult(moved)) throw new UnprocessableEntityException(moved.transitionError);
    }
    const method = await this.method(ctx);
    const offered = await this.orders.getEligiblePaymentMethods(ctx, now.id);
    if (!offered.some((quote) => quote.code === method?.code && quote.isEligible)) {
      throw new UnprocessableEntityException("This order cannot be paid through QLink.");
    }
    const order = (await this.orders.findOne(ctx, now.id))!;
    const due = await this.due(ctx, order);
    if (due <= 0) throw new ConflictException("There is nothing to be paid.");
    res.type("application/vnd.qlink.order+json");
    return {
      orderCode: order.code,
      amount: decimal(due, this.precision),
      currency: order.currencyCode,
      description: `Order ${order.code}`,
      items: order.lines.filter((line) => line.quantity > 0).map(({ productVariant, quantity }) => (
        { skuCode: productVariant.sku, skuName: productVariant.name, quantity }
      )),
      metadata: { channel: ctx.channel.token },
    };
  }

  /**
   * How an order ended. 2xx says that this need not be told again; it may come twice
   * all the same, and at once.
   */
  @Post("notifications")
  @HttpCode(204)
  async notified(@Req() req: Request) {
    const told = this.verified(req);
    if (!told.type.startsWith("bill.") || !told.data.order.paid) return; // unpaid is what an order is until it is paid
    const ctx = await this.contexts.create({ apiType: "admin", channelOrToken: told.data.metadata?.channel });
    const bill = told.data.status === "SUCCESS" ? told.data : await this.paidBill(told.data);
    await this.connection.withTransaction(ctx, (ctx) => this.settle(ctx, bill));
  }

  /** The signature is over the bytes as they came. */
  private verified(req: Request): Notification {
    try {
      return this.webhook.verify(req.body, req.headers as Record<string, string>) as Notification;
    } catch {
      throw new UnauthorizedException();
    }
  }

  /** Which bill has paid, where a notification is about another attempt at the order. */
  private async paidBill({ order }: Notification["data"]): Promise<Bill> {
    const answer = await fetch(`${QlinkPlugin.options.url}/bills/${order.paidBill}`, { signal: AbortSignal.timeout(10_000) });
    if (!answer.ok) throw new Error(`asking after the paid bill ${order.paidBill}: ${answer.status}`);
    return answer.json() as Promise<Bill>;
  }

  /**
   * Adds the payment, once. Where the cart has changed since, the money is not for
   * this order: nothing is taken for paid, and a person is told.
   */
  private async settle(ctx: RequestContext, bill: Bill): Promise<void> {
    const order = await lockOrder(this.connection.getRepository(ctx, Order), { code: bill.orderCode });
    if (!order) return this.lookAt(ctx, bill, "there is no such order");
    const payments = await this.orders.getOrderPayments(ctx, order.id);
    if (payments.some((payment) => payment.transactionId === bill.id)) return; // told before
    if (bill.refundDue) return this.lookAt(ctx, bill, "another payment of this order came, too: one of them is to be given back", order);
    const due = await this.due(ctx, order);
    const amount = minorUnits(bill.amount, this.precision);
    if (bill.status !== "SUCCESS" || bill.currency !== order.currencyCode || amount !== due) {
      return this.lookAt(ctx, bill, `${decimal(due, this.precision)} ${order.currencyCode} is due`, order);
    }
    const method = await this.method(ctx);
    if (!method) return this.lookAt(ctx, bill, "no payment method has the handler qlink", order);
    if (order.state === "AddingItems") { // back from the payment, without a change
      const moved = await this.orders.transitionToState(ctx, order.id, "ArrangingPayment");
      if (isGraphQlErrorResult(moved)) return this.lookAt(ctx, bill, moved.transitionError, order);
    }
    const paid = await this.orders.addPaymentToOrder(ctx, order.id, { method: method.code, metadata: { bill: bill.id, amount } });
    if (isGraphQlErrorResult(paid)) return this.lookAt(ctx, bill, paid.message, order);
  }

  /** What of the order is not paid yet: its total, but for gift cards and the like. */
  private async due(ctx: RequestContext, order: Order): Promise<number> {
    order.payments = await this.orders.getOrderPayments(ctx, order.id);
    return order.totalWithTax - totalCoveredByPayments(order);
  }

  /** The channel's payment method of QLink, whatever the merchant calls it. */
  private async method(ctx: RequestContext) {
    return (await this.paymentMethods.getActivePaymentMethods(ctx)).find(({ handler }) => handler.code === qlinkPaymentHandler.code);
  }

  /** Says what does not fit in the log and, once, in the order's history, where the merchant sees it. */
  private async lookAt(ctx: RequestContext, bill: Bill, why: string, order?: Order): Promise<void> {
    const note = `to be looked at: QLink's bill ${bill.id} paid ${bill.amount} ${bill.currency} for order ${bill.orderCode}; ${why}`;
    Logger.error(note, "qlink");
    if (!order) return;
    const type = HistoryEntryType.ORDER_NOTE;
    const { items } = await this.history.getHistoryForOrder(ctx, order.id, false, { filter: { type: { eq: type } } });
    if (items.some(({ data }) => data.note === note)) return;
    await this.history.createHistoryEntryForOrder({ ctx, orderId: order.id, type, data: { note } }, false);
  }
}

@VendurePlugin({
  imports: [PluginCommonModule],
  controllers: [QlinkController],
  providers: [PaidStaysPaid],
  compatibility: "^3.0.0",
  configuration(config) {
    config.paymentOptions.paymentMethodHandlers.push(qlinkPaymentHandler);
    config.apiOptions.middleware.push({ route: "/notifications", handler: raw({ type: () => true, limit: "1mb" }), beforeListen: true });
    return config;
  },
})
export class QlinkPlugin {
  static options: QlinkOptions;

  static init(options: QlinkOptions) {
    this.options = options;
    return this;
  }
}
