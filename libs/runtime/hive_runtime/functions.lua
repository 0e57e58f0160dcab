#!lua name=hive
-- Server-side functions, Redis 7.0 semantics. They run with the caller's rights.
--
-- hive_deliver  KEYS inbox, dedup   ARGV ttl_s, field, value, ...
--   inbox  stream  the recipient's; one entry is added unless dedup exists
--   dedup  string  id of the entry that this key already made; expires after ttl_s
--   returns {entry id, 1 when this call added it, else 0}
-- hive_ack      KEYS inbox, state   ARGV group, lease, id, ...
--   inbox  stream  the ids are acknowledged and deleted (the inbox has one group)
--   state  hash    field `lease` names the owner; another value refuses the call
--   returns the number acknowledged
-- hive_trim     KEYS stream         ARGV below, keep, limit, group, ...
--   stream  stream  its oldest done entries are deleted: those that every group has had and acknowledged, with ids
--                   under `below`, leaving the newest `keep`. While a named group is missing, nothing is done.
--   returns the number deleted, at most `limit`; 0 when there is nothing more
-- hive_done     KEYS stream         ARGV below, after, limit, group, ...
--   stream  stream  only read
--   returns {number, last id} of at most `limit` done entries above `after`, as hive_trim means them

local function deliver(keys, args)
  local known = redis.call('GET', keys[2])
  if known then
    return {known, 0}
  end
  local entry = {}
  for index = 2, #args do
    entry[#entry + 1] = args[index]
  end
  local id = redis.call('XADD', keys[1], '*', unpack(entry))
  redis.call('SET', keys[2], id, 'EX', args[1])
  return {id, 1}
end

local function ack(keys, args)
  if redis.call('HGET', keys[2], 'lease') ~= args[2] then
    return redis.error_reply('FENCED another harness owns this inbox')
  end
  local ids = {}
  for index = 3, #args do
    ids[#ids + 1] = args[index]
  end
  local acked = redis.call('XACK', keys[1], args[1], unpack(ids))
  redis.call('XDEL', keys[1], unpack(ids))
  return acked
end

-- Ids are compared as text: their halves are 64 bits wide, and a number here holds 53.
local function is_less(one, other)
  local ms, seq = one:match('^(%d+)-(%d+)$')
  local other_ms, other_seq = other:match('^(%d+)-(%d+)$')
  if ms == other_ms then
    ms, other_ms = seq, other_seq
  end
  if #ms ~= #other_ms then
    return #ms < #other_ms
  end
  return ms < other_ms
end

-- The id after this one; the id itself where a number cannot tell, which only keeps one entry more.
local function next_id(id)
  local ms, seq = id:match('^(%d+)-(%d+)$')
  if #seq > 15 then
    return id
  end
  return ms .. '-' .. string.format('%.0f', tonumber(seq) + 1)
end

local function as_map(pairs_list)
  local map = {}
  for index = 1, #pairs_list, 2 do
    map[pairs_list[index]] = pairs_list[index + 1]
  end
  return map
end

-- The lowest id that is not done, but not above `below`; nil while one of the wanted groups is missing.
local function bound_of(stream, below, wanted)
  if redis.call('EXISTS', stream) == 0 then
    return nil
  end
  local bound, present = below, {}
  for _, raw in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local group = as_map(raw)
    present[group['name']] = true
    local undone = next_id(group['last-delivered-id'])
    if group['pending'] > 0 then
      undone = redis.call('XPENDING', stream, group['name'])[2]
    end
    if is_less(undone, bound) then
      bound = undone
    end
  end
  for _, name in ipairs(wanted) do
    if not present[name] then
      return nil
    end
  end
  return bound
end

local function rest(args, first)
  local found = {}
  for index = first, #args do
    found[#found + 1] = args[index]
  end
  return found
end

-- Whole nodes first, which is quick; then what is left in the first node, entry by entry.
local function trim(keys, args)
  local bound = bound_of(keys[1], args[1], rest(args, 4))
  local spare = redis.call('XLEN', keys[1]) - tonumber(args[2])
  if not bound or spare <= 0 then
    return 0
  end
  local limit = math.min(spare, tonumber(args[3]))
  local deleted = redis.call('XTRIM', keys[1], 'MINID', '~', bound, 'LIMIT', limit)
  if deleted > 0 then
    return deleted
  end
  local ids = {}
  for _, entry in ipairs(redis.call('XRANGE', keys[1], '-', '(' .. bound, 'COUNT', math.min(limit, 100))) do
    ids[#ids + 1] = entry[1]
  end
  return #ids > 0 and redis.call('XDEL', keys[1], unpack(ids)) or 0
end

local function done(keys, args)
  local bound = bound_of(keys[1], args[1], rest(args, 4))
  if not bound then
    return {0, args[2]}
  end
  local found = redis.call('XRANGE', keys[1], '(' .. args[2], '(' .. bound, 'COUNT', args[3])
  return {#found, #found > 0 and found[#found][1] or args[2]}
end

redis.register_function('hive_deliver', deliver)
-- A full server must still let its inboxes be emptied.
redis.register_function{function_name = 'hive_ack', callback = ack, flags = {'allow-oom'}}
redis.register_function{function_name = 'hive_trim', callback = trim, flags = {'allow-oom'}}
redis.register_function{function_name = 'hive_done', callback = done, flags = {'no-writes'}}
