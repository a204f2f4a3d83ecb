// Package sandbox plays the QLink gateway, so that a shop can be tried and
// tested with no account anywhere and no money moving. It is the Caddy handler
// http.handlers.qlink_sandbox: under its prefix it serves the gateway's four
// operations, a page on which a person decides what becomes of each payment, a
// page for the buyer, and a control API over which a test does the same; it
// posts signed payNotification webhooks to the configured URL.
//
// It never talks to a real gateway, never posts anywhere but to the URLs its
// operator configured, and never writes or answers a secret. Merchants' HTTP
// clients, people and tests call it; production builds leave it out. It has no
// login of its own: whoever reaches it can "pay", so keep it off the public
// internet.
//
// Every call received, every payment and every webhook is kept in a ledger: in
// memory, where it outlives reloads of the configuration, or in a file of JSON
// lines (see [Entry]) that is synced before any answer leaves and is replayed
// at the next start. [ReadLedger] reads such a file.
//
// # Magic order codes
//
// A word between dashes in an order code chooses the payment's fate, so
// "O17-PAY" is paid by itself and "O17-NOACTION-FAIL" fails without ever having
// shown an action: see [MagicWords].
//
// # Control API
//
// All of it is JSON, under {prefix}/control; errors are
// {"status":…,"code":…,"detail":…}.
//
//	GET    /ledger                     everything
//	GET    /payments                   the payments, oldest first
//	GET    /payments/{id}[?wait=10s]   one, by tradeUuid, billCode or orderCode (the newest);
//	                                   wait: not before all its webhooks are settled
//	POST   /payments/{id}/pay          likewise fail, expire, cancel: see [FateOptions]
//	POST   /payments/{id}/webhook      one more notification: see [WebhookOptions]
//	GET    /faults                     the queue of faults
//	POST   /faults                     adds one fault or an array of them: see [Fault]
//	DELETE /faults[/{id}]              forgets all, or one
//	GET    /settings                   what is in force
//	POST   /settings                   changes what is named: see [Settings]
//	DELETE /settings                   back to the configuration
package sandbox
