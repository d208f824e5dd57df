// A network of the AT Protocol on 127.0.0.1, of the protocol's own packages: started by scripts/atproto.sh, which
// says where they are and which ports to take. Prints "ready" when it answers.
const net = require("net");
const { createRequire } = require("module");

// Its servers would listen on every address of the machine.
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...given) {
    const called = given.find((one) => typeof one === "function");
    const [first] = given;
    if (first && typeof first === "object" && !first.path) {
        return listen.call(this, { ...first, host: "127.0.0.1" }, called);
    }
    if (/^\d+$/.test(String(first))) {
        return listen.call(this, { port: Number(first), host: "127.0.0.1" }, called);
    }
    return listen.apply(this, given);
};

const { TestNetwork, mockMailer } = createRequire(process.env.ATPROTO_PACKAGES + "/")("@atproto/dev-env");
const port = Number(process.env.ATPROTO_PORT);

(async () => {
    const network = await TestNetwork.create({
        dbPostgresSchema: "moksori",
        pds: { port, hostname: "localhost", rateLimitsEnabled: true, enableDidDocWithSession: true },
        bsky: { port: port + 1, publicUrl: `http://localhost:${port + 1}` },
        plc: { port: port + 2 },
        ozone: { port: port + 3, dbMaterializedViewRefreshIntervalMs: 30000 },
    });
    mockMailer(network.pds);
    console.log("ready");
    process.on("SIGTERM", () => process.exit(0));
})().catch((error) => {
    console.error(error);
    process.exit(1);
});
