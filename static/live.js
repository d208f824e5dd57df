// Content is pushed, order is pulled: the list changes places only when nobody uses it.
const words = document.getElementById('words')?.dataset ?? {};
const $ = (selector, root = document) => root.querySelector(selector);
const hide = (selector, hidden = true) => $(selector)?.toggleAttribute('hidden', hidden);
const fill = (pattern, value) => pattern.replace(/\{\w+\}/, value);
const tell = (name, detail) => document.dispatchEvent(new CustomEvent(`moksori:${name}`, { detail }));
const now = () => performance.now();
const age = since => now() - since, never = -1e9;
const listen = (name, act, capture) => document.addEventListener(name, act, capture);
const stream = e => e.target.matches?.('.stream');

const delays = [1, 2, 5, 10, 15];
let heard = now(), downSince = null, attempt = 0, failures = 0, retry = 0, version = null, lastId = 0, parkedStream = null;

function reconnect(take) {
	clearTimeout(retry);
	const old = $('.stream') ?? parkedStream;
	if (!old) return;
	const fresh = old.cloneNode(false);
	fresh.removeAttribute('data-htmx-powered');
	const url = new URL(old.getAttribute('hx-sse:connect'), location);
	if (lastId) url.searchParams.set('since', lastId);
	if (take) url.searchParams.set('take', '1');
	fresh.setAttribute('hx-sse:connect', url.pathname + url.search);
	old.remove();
	parkedStream = null;
	document.body.append(fresh);
	htmx.process(fresh);
}
function down() { downSince ??= now(); }
function up() { downSince = null; attempt = failures = 0; heard = now(); hide('#parked'); show(); }
// The extension gives up when its first request fails: a new element, then.
function firstFailed(e) {
	if (!stream(e) || e.target._htmx?.sse) return;
	down();
	clearTimeout(retry);
	attempt = failures + 1;
	retry = setTimeout(reconnect, delays[Math.min(failures++, delays.length - 1)] * 1000);
}
listen('htmx:sse:before:connection', e => {
	if (e.detail.connection.attempt > 0 && !document.hidden) { down(); attempt = e.detail.connection.attempt; }
});
listen('htmx:sse:after:connection', up);

const on = (name, act) => listen(name, e => {
	if (!stream(e)) return;
	act(JSON.parse(e.detail.data || '{}'));
});
listen('htmx:sse:before:message', e => {
	heard = now();
	if (Number(e.detail.message.id) > lastId) lastId = Number(e.detail.message.id);
});
const pulse = data => {
	tell('time', data.now);
	if (version && data.version !== version) offerReload();
	version ??= data.version;
	show();
};
on('hello', pulse);
on('beat', pulse);
on('order', data => { pending.fresh += data.in ?? 0; pending.moved += (data.moved ?? 0) + (data.out ?? 0); settle(); });
on('resync', () => { pending.moved += 1; if ($('#rows')) settle(); else location.reload(); });
on('parked', () => { parkedStream = $('.stream'); parkedStream?.remove(); downSince = null; hide('#parked', false); show(); });
on('signedout', () => { $('.stream')?.remove(); signedOut(); });

function show() {
	const state = $('#live-state'), lost = $('#lost');
	if (!state) return;
	state.hidden = false;
	const late = age(heard) >= 20000 || downSince !== null || !$('.stream');
	state.classList.toggle('late', late);
	const say = late ? fill(words.late, Math.floor(age(heard) / 1000)) : words.live;
	const place = $('.say', state);
	if (place.textContent !== say) place.textContent = say;
	if (!lost) return;
	lost.hidden = !(downSince !== null && age(downSince) > 5000 && !document.hidden);
	if (!lost.hidden) { const span = $('span', lost); span.textContent = fill(span.dataset.pattern, attempt); }
}

const pending = { fresh: 0, moved: 0 };
let inside = false, listKey = never, active = now(), visible = never, pulledAt = never, timer = 0, pulling = false;
const rows = () => $('#rows');
addEventListener('pointermove', e => {
	active = now();
	inside = e.pointerType === 'mouse' && !!e.target.closest?.('#rows .list');
}, { passive: true });
document.documentElement.addEventListener('pointerleave', () => { inside = false; });
for (const kind of ['pointerdown', 'keydown', 'wheel']) addEventListener(kind, () => { active = now(); }, { passive: true, capture: true });
listen('moksori:listkey', () => { listKey = now(); });
listen('moksori:pull', () => pull());

function held() {
	if (age(active) > 60000 && age(visible) > 2000) return false;
	const selection = getSelection();
	return inside || age(listKey) < 10000 || age(visible) < 2000 || !!$('#rows details[open]')
		|| (!selection.isCollapsed && rows().contains(selection.anchorNode));
}
function settle() {
	const waiting = pending.fresh + pending.moved > 0;
	const pill = $('#pill');
	if (!rows()) return;
	if (waiting && !held()) {
		clearTimeout(timer);
		timer = setTimeout(() => { if (!held()) pull(); else settle(); }, Math.max(0, 1000 - age(pulledAt)));
		return;
	}
	if (!pill) return;
	pill.hidden = !waiting;
	$('span', pill).textContent = ['fresh', 'moved'].filter(kind => pending[kind]).map(kind => fill(words[kind], pending[kind])).join(' · ');
}
async function pull() {
	const list = rows();
	if (!list || pulling) return;
	pulling = true;
	clearTimeout(timer);
	pulledAt = now();
	const taken = { ...pending };
	const selected = $('[data-ui-selected]', list);
	const index = [...list.querySelectorAll('.row')].indexOf(selected), y = selected?.getBoundingClientRect().y;
	let done = false;
	const check = e => { if (e.detail.ctx?.response?.status === 200) done = true; };
	list.addEventListener('htmx:after:request', check);
	try { await htmx.ajax('GET', list.dataset.pull, { source: list, target: list, swap: 'innerMorph' }); } finally {
		list.removeEventListener('htmx:after:request', check);
		pulling = false;
	}
	if (!done) return;
	pending.fresh -= taken.fresh;
	pending.moved -= taken.moved;
	hide('#pill');
	if (selected?.isConnected) scrollBy(0, selected.getBoundingClientRect().y - y);
	else if (index >= 0) tell('reselect', index);
	settle();
}

// A press right after its row changed opens nothing.
const changed = new WeakMap();
listen('htmx:before:swap', e => {
	for (const { target } of e.detail.tasks ?? []) {
		if (target?.matches?.('.row')) changed.set(target, now());
		if (target?.id === 'rows') for (const row of target.querySelectorAll('.row')) changed.set(row, now());
	}
});
listen('click', e => {
	const row = e.target.closest?.('.row');
	if (!row || e.detail === 0 || age(changed.get(row) ?? never) > 500) return;
	e.preventDefault();
	e.stopImmediatePropagation();
	row.setAttribute('data-ui-struck', '');
	setTimeout(() => row.removeAttribute('data-ui-struck'), 1000);
}, true);

let fading = 0;
const fade = () => { clearTimeout(fading); fading = setTimeout(() => $('#toast:hover, #toast:focus-within') ? fade() : $('#toast').replaceChildren(), 8000); };
function toast(text, button, act) {
	const box = document.createElement('div');
	box.className = 'flash bad';
	box.role = 'alert';
	box.append(text);
	if (button) box.append(Object.assign(document.createElement('button'), { className: 'b', textContent: button, onclick: act }));
	$('#toast').replaceChildren(box);
}
const signedOut = () => toast(words.signedOut, words.signIn, () => location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`));
function offerReload() {
	const [, text, button] = /^(.*)\[(.*)\]$/.exec(words.version) ?? [];
	toast(text, button, () => location.reload());
}
new MutationObserver(fade).observe($('#toast'), { childList: true });
fade();
const failed = e => {
	const { response } = e.detail.ctx ?? {};
	if (response?.status === 401) return signedOut();
	if (e.target.matches?.('.stream, .composer form')) return;
	if (!response || response.status >= 500) toast(fill(words.failed, response?.headers?.get('x-error-id') ?? '-'));
};
for (const kind of ['htmx:response:error', 'htmx:error']) { listen(kind, firstFailed); listen(kind, failed); }

let busy = 0, slow = 0;
listen('htmx:before:request', e => {
	if (stream(e)) return;
	busy += 1;
	slow ||= setTimeout(() => { hide('#progress', false); $('#main').setAttribute('aria-busy', 'true'); }, 300);
});
// Redrawings leave a menu open; its own command closes it.
listen('htmx:after:request', e => {
	const { response, sourceElement } = e.detail.ctx;
	if (response.status < 400) sourceElement.closest('.menu')?.removeAttribute('open');
});
listen('htmx:finally:request', e => {
	if (stream(e) || --busy > 0) return;
	busy = 0;
	clearTimeout(slow);
	slow = 0;
	hide('#progress');
	$('#main').removeAttribute('aria-busy');
});

const thread = $('#thread'), below = $('#below');
let unseen = 0;
if (thread) {
	const end = () => thread.getBoundingClientRect().bottom - innerHeight < 120;
	new MutationObserver(changes => {
		const more = changes.flatMap(change => [...change.addedNodes]).filter(node => node.matches?.('.msg')).length;
		if (!more || end()) return;
		unseen += more;
		$('span', below).textContent = fill(words.newBelow, unseen);
		below.hidden = false;
	}).observe(thread, { childList: true });
	const seen = () => { unseen = 0; below.hidden = true; };
	below.addEventListener('click', () => { thread.lastElementChild?.scrollIntoView({ block: 'end' }); seen(); });
	addEventListener('scroll', () => { if (unseen && end()) seen(); }, { passive: true });
}

listen('click', e => {
	const act = e.target.closest?.('[data-act]')?.dataset.act;
	if (act === 'connect') reconnect(true);
	if (act === 'unpeek') tell('unpeek');
	if (e.target.closest?.('#pill')) pull();
	for (const menu of document.querySelectorAll('details.menu[open]')) if (!menu.contains(e.target)) menu.open = false;
});
// Equal filters give equal addresses: an empty choice is not sent.
listen('change', e => {
	const form = e.target.closest?.('form[data-auto]');
	if (!form) return;
	for (const field of form.elements) if (field.name && field.value === '') field.disabled = true;
	form.submit();
});
listen('visibilitychange', () => {
	if (document.hidden) return;
	inside = false;
	listKey = never;
	heard = now();
	pull();
	visible = now();
});
setInterval(() => { if (!document.hidden) { show(); settle(); } }, 1000);
show();
