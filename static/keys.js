// A key presses the button that a mouse would press (`data-key`).
// Matched by `event.code`: with a Korean layout J arrives as "ㅓ".
const all = selector => document.querySelectorAll(selector);
const $ = (selector, root = document) => root?.querySelector(selector);
const listen = (name, act) => document.addEventListener(name, act);
const tell = (name, detail) => document.dispatchEvent(new CustomEvent(`moksori:${name}`, { detail }));
const rows = () => [...all('.row, .hit')];
const selected = () => $('[data-ui-selected]');
const editable = node => node.matches?.('input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable]');
const mod = e => /Mac|iP/.test(navigator.platform) ? e.metaKey && !e.ctrlKey : e.ctrlKey && !e.metaKey;

function select(row, focus = true) {
	if (!row) return;
	for (const old of all('[data-ui-selected]')) if (old !== row) old.removeAttribute('data-ui-selected');
	row.setAttribute('data-ui-selected', '');
	rove();
	if (focus) { $('.p', row).focus({ preventScroll: true }); row.scrollIntoView({ block: 'nearest' }); }
}
// One Tab stop: the list.
function rove() {
	const list = rows(), one = selected() ?? list[0];
	for (const row of list) $('.p', row)?.setAttribute('tabindex', row === one ? '0' : '-1');
}
function move(to) {
	const list = rows();
	if (!list.length) return false;
	select(list[Math.max(0, Math.min(list.length - 1, list.indexOf(selected()) + to))]);
	tell('listkey');
	return true;
}
listen('moksori:reselect', e => { const list = rows(); select(list[Math.min(e.detail, list.length - 1)], document.activeElement === document.body); });
listen('focusin', e => { const row = e.target.closest?.('.row, .hit'); if (row && e.target.matches('.p')) select(row, false); });
listen('htmx:after:swap', rove);

async function peek(row) {
	if (!$('#peek') || !row) return;
	const open = $('#peek .peeked')?.dataset.number;
	if (open === row.dataset.number) return unpeek();
	await htmx.ajax('GET', `/cases/${row.dataset.number}/peek`, { source: $('#peek'), target: '#peek', swap: 'innerMorph' });
	if ($('#peek .peeked')?.dataset.number === row.dataset.number) address(row.dataset.number);
}
function unpeek() {
	const pane = $('#peek');
	if (!pane || !$('.peeked', pane)) return false;
	pane.replaceChildren();
	address(null);
	$('.p', selected())?.focus();
	return true;
}
function address(number) {
	const url = new URL(location);
	if (number) url.searchParams.set('case', number); else url.searchParams.delete('case');
	history.replaceState(history.state, '', url);
}
listen('moksori:unpeek', unpeek);

// A key looks for its button from near to far.
function press(key) {
	const menu = $('details.menu[open]'), row = selected();
	const peeked = $(row ? `#peek [data-number="${row.dataset.number}"]` : '#peek .peeked');
	const roots = 'zb'.includes(key) ? [$('#toast'), document] : document.body.matches('.with-side') ? [menu, document] : [menu, row, peeked];
	for (const root of roots) {
		const found = root && [...root.querySelectorAll(`[data-key="${key}"]`)].at(-1);
		if (!found || found.disabled) continue;
		found.click();
		if (found.matches('summary, form')) $('select, input:not([type=hidden]), button', found.matches('form') ? found : found.nextElementSibling)?.focus();
		if (found.matches('label')) $(`#${found.htmlFor.replace('tab-', '')}-text`)?.focus();
		return true;
	}
	return false;
}
async function menuOfRow(key) {
	if (press(key)) return;
	if (!selected() || !$('#peek')) return;
	await peek(selected());
	press(key);
}

function escape() {
	const menu = document.activeElement?.closest('details.menu[open]') ?? $('details.menu[open]');
	if (menu) { menu.open = false; $('summary', menu).focus(); return true; }
	if (editable(document.activeElement)) { document.activeElement.blur(); $('.p', selected())?.focus(); return true; }
	return unpeek() || press('back');
}

let going = 0, claiming = false;
const rooms = { KeyQ: '/', KeyM: '/mine', KeyS: '/search' };
const plain = {
	KeyJ: () => move(1), ArrowDown: () => move(1), KeyK: () => move(-1), ArrowUp: () => move(-1),
	Home: () => move(-1e9), End: () => move(1e9),
	Enter: e => e.target.matches('.p, a, button, summary') ? false : open(), KeyO: () => open(),
	Space: e => e.target.matches('button, summary, input') ? false : selected() && $('#peek') ? (peek(selected()), tell('listkey'), true) : false,
	Period: () => $('#pill') && ($('#pill').click(), true),
	Slash: () => { const field = $('.ask input') ?? $('.find input'); field?.focus(); field?.select(); return !!field; },
	KeyC: () => claim(),
	BracketLeft: () => press('['), BracketRight: () => press(']'),
	KeyG: () => { going = performance.now(); return true; },
};
for (let n = 1; n <= 5; n += 1) plain[`Digit${n}`] = () => press(String(n));
for (const key of 'utlyhv') plain[`Key${key.toUpperCase()}`] = () => (menuOfRow(key), true);
for (const key of 'rnezaxb') plain[`Key${key.toUpperCase()}`] = () => press(key);
const repeats = new Set(['KeyJ', 'KeyK', 'ArrowDown', 'ArrowUp']);

function open() { const link = $('.p', selected()); link?.click(); return !!link; }
// With nothing selected: the next case; a double press is one claim.
function claim() {
	if (claiming) return true;
	claiming = true;
	setTimeout(() => { claiming = false; }, 500);
	if (press('c')) return true;
	const form = $('#act[action="/claim-next"]');
	if (!selected() && form) { htmx.ajax('POST', '/claim-next', { source: form, values: { csrf: form.elements.csrf.value }, swap: 'none' }); return true; }
	return false;
}

addEventListener('keydown', e => {
	if (e.isComposing || e.keyCode === 229 || e.defaultPrevented) return;
	if ($('dialog[open], :popover-open')) return;
	if (e.code === 'Escape') { if (escape()) e.preventDefault(); return; }
	if (mod(e) && !e.altKey && !e.shiftKey && (e.code === 'Enter' || e.code === 'NumpadEnter')) {
		const send = $('[data-send]', e.target.closest('.composer form'));
		if (send) { e.preventDefault(); if (!e.repeat && !send.disabled) send.form.requestSubmit(send); }
		return;
	}
	if (mod(e) && !e.altKey && !e.shiftKey && e.code === 'KeyK') { e.preventDefault(); plain.Slash(); return; }
	if (e.ctrlKey || e.altKey || e.metaKey || editable(e.target)) return;
	if (document.body.dataset.keys === 'off' || (e.repeat && !repeats.has(e.code))) return;
	if (e.shiftKey) {
		if (e.code === 'Slash') { e.preventDefault(); $('#sheet')?.showModal(); }
		return;
	}
	if (performance.now() - going < 1500 && rooms[e.code]) { e.preventDefault(); going = 0; location.assign(rooms[e.code]); return; }
	if (plain[e.code]?.(e)) e.preventDefault();
});
const asked = new URL(location).searchParams.get('case');
if ($('.reviewing')) select(rows()[0], false);
if (asked) select(document.getElementById(`case-${asked}`), false);
rove();
