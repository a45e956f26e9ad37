-- What Argo CD makes of a CatalogSchedule.
--
-- Degraded: it can't be followed before its author mends it. Suspended: spec.suspend. Progressing: it was not looked
-- at yet, or something is tried again. Healthy: it is followed, also before its first run. How its Catalogs come out
-- is said by each of them.

local status = obj.status
if status == nil or status.conditions == nil then
  return {status = "Progressing", message = "the operator has not looked at it yet"}
end
if status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "the operator has not looked at its last change yet"}
end

local conditions = {}
for _, condition in ipairs(status.conditions) do
  conditions[condition.type] = condition
end
local function holds(name)
  return conditions[name] ~= nil and conditions[name].status == "True"
end
local function says(name)
  local condition = conditions[name] or {}
  return (condition.reason or "Pending") .. ": " .. (condition.message or "")
end

if holds("Stalled") then
  return {status = "Degraded", message = says("Stalled")}
end
if obj.spec.suspend then
  return {status = "Suspended", message = "spec.suspend is true"}
end
if holds("Reconciling") then
  return {status = "Progressing", message = says("Reconciling")}
end
if holds("Ready") then
  local message = "no run is due"
  if status.nextScheduleTime ~= nil then
    message = "the next run is due at " .. status.nextScheduleTime
  end
  if status.artifacts ~= nil then
    message = message .. "; the last good catalog is at " .. status.artifacts.catalog
  end
  return {status = "Healthy", message = message}
end
return {status = "Progressing", message = says("Ready")}
