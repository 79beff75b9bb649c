namespace FedLearn.Privacy;

/// <summary>The Gaussian mechanism on an integer lattice, for a whole job of one party.</summary>
public sealed class GaussianMechanism
{
    /// <summary>Adds noise to a vector once, charges the ledger, and lets the result leave.</summary>
    public Released<T> Release<T>(T value, string name) where T : VectorPayload => throw new NotSupportedException();
}
