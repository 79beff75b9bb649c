using FedLearn.Coordination;
using FedLearn.Glm;
using FedLearn.Privacy;

namespace FedLearn.Tests.Glm;

/// <summary>Exact numbers in a message of the kind that the job says, whatever lattice they would be on.</summary>
internal static class Scripted
{
    private static readonly LatticeVector Any = LatticeVector.Of([], 1, 1);

    internal static Scores Scores(GlmPlan plan, double[] values) => plan.Packing(PartyRole.Passive) == ElementType.Lattice ? new(Any, values) : new(values, plan.ElementType);

    internal static Residuals Residuals(GlmPlan plan, double[] values) => plan.Packing(PartyRole.Active) == ElementType.Lattice ? new(Any, values) : new(values, plan.ElementType);
}
