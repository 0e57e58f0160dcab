#!lua name=hive
-- Server-side functions, Redis 7.0 semantics. They run with the caller's rights.
--
-- hive_deliver  KEYS inbox, dedup   ARGV ttl_s, origin, field, value, ...
--   inbox  stream  the recipient's; one entry is added unless dedup exists
--   dedup  string  id of the entry that this key already made, and origin (its trace and hop); expires after ttl_s
--   returns {entry id, 1 when this call added it, else 0}
-- hive_ack      KEYS inbox, state   ARGV group, lease, id, ...
--   inbox  stream  the ids are acknowledged and deleted (the inbox has one group)
--   state  hash    field `lease` names the owner; another value refuses the call, one that an emptied server has
--                  lost becomes this caller's
--   returns the number acknowledged
-- hive_trim     KEYS stream         ARGV below, keep, limit, group, ...
--   stream  stream  its oldest done entries are deleted: those that every group has had and acknowledged, with ids
--                   under `below`, leaving the newest `keep`. While a named group is missing, nothing is done.
--   returns the number deleted, at most `limit`; 0 when there is nothing more
-- hive_done     KEYS stream         ARGV below, after, limit, group, ...
--   stream  stream  only read
--   returns {number, last id} of at most `limit` done entries above `after`, as hive_trim means them
-- hive_rewind   KEYS stream         ARGV group, id
--   stream  stream  the group starts again behind `id`, or before its lowest pending entry where that is lower, and
--                   nothing is pending; it is made where it is missing. Only backwards: a group that is at `id`, or
--                   before it, stays as it is.
--   returns 1 when the group was moved, else 0
-- hive_load     KEYS key, ...
--   key     any     only looked at
--   returns four numbers for each: bytes, exactly; and of a stream its length, the entries ever added (-1: the server
--                   is not sure), and the consumers of the group that has most
-- hive_join     KEYS brokers        ARGV instance, place_ms, view
--   brokers  hash  instance → when it joined, when its place runs out (milliseconds), its view; those that ran out go
--   returns instance, view, ... of all that are alive, the first to join first

local function deliver(keys, args)
  local known = redis.call('GET', keys[2])
  if known then
    return {known, 0}
  end
  local entry = {}
  for index = 3, #args do
    entry[#entry + 1] = args[index]
  end
  local id = redis.call('XADD', keys[1], '*', unpack(entry))
  redis.call('SET', keys[2], id .. ' ' .. args[2], 'EX', args[1])
  return {id, 1}
end

local function ack(keys, args)
  local owner = redis.call('HGET', keys[2], 'lease')
  if not owner then
    redis.call('HSET', keys[2], 'lease', args[2])
  elseif owner ~= args[2] then
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
  if not bound or bound == '0-0' or spare <= 0 then
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
  if not bound or bound == '0-0' then
    return {0, args[2]}
  end
  local found = redis.call('XRANGE', keys[1], '(' .. args[2], '(' .. bound, 'COUNT', args[3])
  return {#found, #found > 0 and found[#found][1] or args[2]}
end

local function rewind(keys, args)
  local group, id = args[1], args[2]
  if redis.call('EXISTS', keys[1]) == 1 then
    for _, raw in ipairs(redis.call('XINFO', 'GROUPS', keys[1])) do
      local found = as_map(raw)
      if found['name'] == group then
        if not is_less(id, found['last-delivered-id']) then
          return 0
        end
        if found['pending'] > 0 then
          local lowest = redis.call('XPENDING', keys[1], group)[2]
          if not is_less(id, lowest) then
            local before = redis.call('XREVRANGE', keys[1], '(' .. lowest, '-', 'COUNT', 1)
            id = before[1] and before[1][1] or '0-0'
          end
        end
        redis.call('XGROUP', 'DESTROY', keys[1], group)
        redis.call('XGROUP', 'CREATE', keys[1], group, id)
        return 1
      end
    end
  end
  redis.call('XGROUP', 'CREATE', keys[1], group, '0', 'MKSTREAM')
  return 0
end

local function load_of(key)
  local size = redis.call('MEMORY', 'USAGE', key, 'SAMPLES', 0) or 0
  if redis.call('TYPE', key)['ok'] ~= 'stream' then
    return size, 0, -1, 0
  end
  local added, consumers = -1, 0
  for _, raw in ipairs(redis.call('XINFO', 'GROUPS', key)) do
    local group = as_map(raw)
    consumers = math.max(consumers, group['consumers'])
    if group['entries-read'] and group['lag'] then
      added = math.max(added, group['entries-read'] + group['lag'])
    end
  end
  return size, redis.call('XLEN', key), added, consumers
end

local function load(keys)
  local found = {}
  for _, key in ipairs(keys) do
    for _, number in ipairs({load_of(key)}) do
      found[#found + 1] = number
    end
  end
  return found
end

local function join(keys, args)
  local time = redis.call('TIME')
  local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  local alive, joined = {}, now
  local raw = redis.call('HGETALL', keys[1])
  for index = 1, #raw, 2 do
    local since, ends, view = raw[index + 1]:match('^(%d+) (%d+) (.*)$')
    if not ends or tonumber(ends) < now then
      redis.call('HDEL', keys[1], raw[index])
    elseif raw[index] == args[1] then
      joined = tonumber(since)
    else
      alive[#alive + 1] = {tonumber(since), raw[index], view}
    end
  end
  redis.call('HSET', keys[1], args[1], string.format('%.0f %.0f %s', joined, now + tonumber(args[2]), args[3]))
  alive[#alive + 1] = {joined, args[1], args[3]}
  table.sort(alive, function(one, other)
    return one[1] < other[1] or (one[1] == other[1] and one[2] < other[2])
  end)
  local found = {}
  for _, member in ipairs(alive) do
    found[#found + 1] = member[2]
    found[#found + 1] = member[3]
  end
  return found
end

redis.register_function('hive_deliver', deliver)
redis.register_function('hive_join', join)
redis.register_function('hive_rewind', rewind)
-- A full server must still let its inboxes be emptied.
redis.register_function{function_name = 'hive_ack', callback = ack, flags = {'allow-oom'}}
redis.register_function{function_name = 'hive_trim', callback = trim, flags = {'allow-oom'}}
redis.register_function{function_name = 'hive_done', callback = done, flags = {'no-writes'}}
redis.register_function{function_name = 'hive_load', callback = load, flags = {'no-writes'}}
