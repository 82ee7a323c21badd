/*! Larder's menu snippet: tells a collector what guests look at on a menu page, skip and order.
 *
 *   <script src="https://collector.example/menu.js" data-key="…" data-location="bistro-1" defer></script>
 *   <section data-menu-section="Soups">
 *     <article data-menu-item="soup-1"> … <button data-menu-add>Add</button></article>
 *   </section>
 *   <button data-menu-order>Order</button>
 *
 * docs/collector.md says what each attribute means. Nothing of this can break the page: without
 * storage, network or an observer it tells less.
 */
(function () {
  "use strict";

  var script = document.currentScript;
  if (!script || window.larderMenu) return;

  var PREFIX = "larder.menu.";
  var LOOKED_SECONDS = 1; // shorter than this an item only went by
  var FLUSH_SECONDS = 2;
  var LONGEST_WAIT_SECONDS = 60;
  var MOST_BATCH_BYTES = 60000; // browsers send 64 KiB after a page has gone
  var MOST_BATCH = 100;
  var MOST_WAITING = 1000;
  var OLDEST_MS = 7 * 24 * 3600 * 1000;

  var page = new URL(location.href);
  var url = new URL("/v1/menu/events", script.dataset.collector || script.src);
  if (script.dataset.key) url.searchParams.set("key", script.dataset.key);
  var common = {
    location_id: script.dataset.location || page.searchParams.get("location"),
    table_id: script.dataset.table || page.searchParams.get("table"),
    menu_version: script.dataset.menuVersion,
    customer_id: script.dataset.customer,
    visitor_id: visitor(),
  };

  // --- what waits: each event under a key of its own, so that two tabs cannot lose one another's ---

  var memory = {}; // where the browser gives no storage
  var storage = (function () {
    try {
      localStorage.setItem(PREFIX + "test", "1");
      localStorage.removeItem(PREFIX + "test");
      return localStorage;
    } catch (refused) {
      return null;
    }
  })();

  function keep(key, text) {
    try {
      if (storage) return storage.setItem(key, text);
    } catch (full) {
      // as good as no storage
    }
    memory[key] = text;
  }

  function forget(key) {
    delete memory[key];
    if (storage) storage.removeItem(key);
  }

  function read(key) {
    return key in memory ? memory[key] : storage && storage.getItem(key);
  }

  /** Return the keys of what waits, the oldest first; what is too old or too much is forgotten. */
  function waiting() {
    var keys = Object.keys(memory);
    for (var i = 0; storage && i < storage.length; i++) {
      var key = storage.key(i);
      if (key.indexOf(PREFIX + "event.") === 0) keys.push(key);
    }
    keys.sort();
    var oldest = PREFIX + "event." + stamp(Date.now() - OLDEST_MS);
    var first = Math.max(keys.length - MOST_WAITING, 0);
    while (first < keys.length && keys[first] < oldest) first++;
    keys.slice(0, first).forEach(forget);
    return keys.slice(first);
  }

  function stamp(ms) {
    return ms.toString(36).padStart(9, "0");
  }

  function random() {
    var bytes = crypto.getRandomValues(new Uint8Array(16));
    return Array.from(bytes, function (byte) {
      return byte.toString(16).padStart(2, "0");
    }).join("");
  }

  /** Return the same random id at each visit, or one of this page where that is not wanted. */
  function visitor() {
    var own = random();
    var isUnwanted = navigator.globalPrivacyControl || navigator.doNotTrack === "1";
    if (isUnwanted || script.dataset.visitor === "page") return own;
    try {
      var known = localStorage.getItem(PREFIX + "visitor");
      if (!known) localStorage.setItem(PREFIX + "visitor", own);
      return known || own;
    } catch (refused) {
      return own;
    }
  }

  var counter = 0;

  /** Note that something happened; it is sent soon, and kept until the collector has it. */
  function happened(kind, more) {
    var now = new Date();
    var event = Object.assign({}, common, more, {
      event_id: random(),
      occurred_at: now.toISOString(),
      kind: kind,
    });
    var order = stamp(now.getTime()) + "." + String(counter++).padStart(6, "0");
    keep(PREFIX + "event." + order + "." + event.event_id, JSON.stringify(event));
    sendIn(FLUSH_SECONDS);
  }

  // --- sending: in the background while the page is open, by beacon when it goes ---

  var timer = null;
  var isSending = false;
  var failures = 0;
  var hasWarned = false;

  /** Send after so many seconds; an earlier plan stays, unless this one is to replace it. */
  function sendIn(seconds, isInstead) {
    if (timer !== null && !isInstead) return;
    clearTimeout(timer);
    timer = setTimeout(send, seconds * 1000);
  }

  /** Give the oldest of what waits that one request can hold. */
  function batch() {
    var keys = [];
    var lines = [];
    var bytes = 0;
    waiting().some(function (key) {
      var line = read(key);
      if (!line) return false; // another tab has sent it
      bytes += new Blob([line]).size + 1;
      if (keys.length && (bytes > MOST_BATCH_BYTES || keys.length === MOST_BATCH)) return true;
      keys.push(key);
      lines.push(line);
      return false;
    });
    // a type that needs no question beforehand; the collector takes a record on each line
    return { keys: keys, body: new Blob([lines.join("\n")], { type: "text/plain" }) };
  }

  function send() {
    timer = null;
    if (isSending || navigator.onLine === false) return; // the event `online` comes back here
    var next = batch();
    if (!next.keys.length) return;
    isSending = true;
    fetch(url, { method: "POST", body: next.body, keepalive: true, credentials: "omit" })
      .then(function (response) {
        // 422: the collector has it, as dead letters
        if (response.ok || response.status === 422) {
          next.keys.forEach(forget);
          failures = 0;
          return 0;
        }
        if (response.status < 500 && response.status !== 429) warn("answers " + response.status);
        return later(Number(response.headers.get("Retry-After")) || 0);
      })
      .catch(function () {
        // a browser does not tell a page that may not send from a network that is away
        if (failures === 3) warn("cannot be reached");
        return later(0);
      })
      .then(function (seconds) {
        isSending = false;
        if (waiting().length) sendIn(seconds, true);
      });
  }

  /** Say how long to wait: twice as long each time, not all at once, at least what was asked. */
  function later(asked) {
    failures += 1;
    var most = Math.min(LONGEST_WAIT_SECONDS, FLUSH_SECONDS * Math.pow(2, failures));
    return Math.max(asked, most * (0.5 + Math.random() / 2));
  }

  function warn(what) {
    if (hasWarned) return;
    hasWarned = true;
    console.warn(
      "larder: the collector at " + url.origin + " " + what + "; events wait. Look at data-key, and " +
        "whether its LARDER_MENU_ORIGINS lists " + location.origin + "."
    );
  }

  /** Send all that waits although the page goes; nobody says if it came, so it is kept. */
  function sendLast() {
    looks.forEach(stopLooking);
    if (!navigator.sendBeacon) return;
    var next = batch();
    if (next.keys.length) navigator.sendBeacon(url, next.body);
  }

  // --- looking: what is in view for how long ---

  var looks = new Map(); // element → since when it is in view, or null

  function isLookedAt(entry) {
    // half of it, or half of the screen
    return (
      entry.isIntersecting &&
      (entry.intersectionRatio >= 0.5 ||
        entry.intersectionRect.height >= 0.5 * (entry.rootBounds || entry.boundingClientRect).height)
    );
  }

  function startLooking(element) {
    if (looks.get(element) === null && !document.hidden) looks.set(element, performance.now());
  }

  function stopLooking(since, element) {
    if (since === null) return;
    looks.set(element, null);
    var seconds = Math.round((performance.now() - since) / 100) / 10;
    var isLong = seconds >= LOOKED_SECONDS;
    if (element.dataset.menuItem) {
      happened(isLong ? "item_viewed" : "item_skipped", itemOf(element, seconds));
    } else if (isLong) {
      happened("section_viewed", { section: element.dataset.menuSection, dwell_seconds: seconds });
    }
  }

  function sectionOf(element) {
    var section = element.closest("[data-menu-section]");
    return section ? section.dataset.menuSection : undefined;
  }

  /** Say which item, in which section, at which position of it (from 1). */
  function itemOf(element, seconds) {
    var section = element.closest("[data-menu-section]") || document;
    var siblings = Array.from(section.querySelectorAll("[data-menu-item]"));
    return {
      item_id: element.dataset.menuItem,
      section: sectionOf(element),
      position: Number(element.dataset.menuPosition) || siblings.indexOf(element) + 1,
      dwell_seconds: seconds,
    };
  }

  function findItem(id) {
    return document.querySelector('[data-menu-item="' + CSS.escape(id) + '"]');
  }

  function describe(id) {
    var element = findItem(id);
    return element ? itemOf(element) : { item_id: id };
  }

  var inView = new Set();
  var observer =
    window.IntersectionObserver &&
    new IntersectionObserver(
      function (entries) {
        entries.forEach(function (entry) {
          var element = entry.target;
          if (isLookedAt(entry)) {
            inView.add(element);
            startLooking(element);
          } else {
            inView.delete(element);
            stopLooking(looks.get(element), element);
          }
        });
      },
      { threshold: [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1] }
    );

  function watch() {
    if (!observer) return;
    document.querySelectorAll("[data-menu-item], [data-menu-section]").forEach(function (element) {
      if (looks.has(element)) return;
      looks.set(element, null);
      observer.observe(element);
    });
  }

  // --- what a page may say itself, and what is heard from it ---

  var added = []; // what the next order is of

  window.larderMenu = {
    /** A guest has put an item into the order. */
    added: function (itemId) {
      added.push(itemId);
      happened("item_added", describe(itemId));
    },
    /** The order is placed; without item ids it is of all that was added since the last one. */
    ordered: function (itemIds) {
      var ordered = itemIds || added;
      ordered.forEach(function (itemId) {
        happened("order_placed", describe(itemId));
      });
      if (!ordered.length) happened("order_placed"); // of what, nobody knows
      added = [];
      if (!failures) sendIn(0, true);
    },
    /** The guest has signed in; nothing of it is stored on the device but with what waits. */
    signedIn: function (customerId) {
      common.customer_id = customerId;
    },
    /** How many events wait for the collector. */
    waiting: function () {
      return waiting().length;
    },
  };

  document.addEventListener("click", function (event) {
    var target = event.target instanceof Element ? event.target : null;
    var item = target && target.closest("[data-menu-add]") && target.closest("[data-menu-item]");
    if (item) window.larderMenu.added(item.dataset.menuItem);
    if (target && target.closest("[data-menu-order]")) window.larderMenu.ordered();
  });

  document.addEventListener("visibilitychange", function () {
    if (document.hidden) {
      sendLast();
    } else {
      inView.forEach(startLooking);
      sendIn(0, true);
    }
  });
  window.addEventListener("pagehide", sendLast);
  window.addEventListener("online", function () {
    failures = 0;
    sendIn(0, true);
  });
  window.addEventListener("pageshow", function (event) {
    if (event.persisted) happened("menu_opened"); // come back to without loading
  });

  happened("menu_opened");
  watch();
  if (window.MutationObserver) {
    new MutationObserver(watch).observe(document.body, { childList: true, subtree: true });
  }
})();
