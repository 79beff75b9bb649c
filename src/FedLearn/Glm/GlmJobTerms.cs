namespace FedLearn.Glm;

/// <summary>What the parties of a job must agree on, as bytes.</summary>
public static class GlmJobTerms
{
}
