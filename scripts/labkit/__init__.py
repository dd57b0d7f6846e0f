"""The lab: network namespaces and veth pairs that stand for a site, an ExpressRoute circuit and Azure."""
