namespace FedLearn.Privacy;

/// <summary>What protects a value that left its party.</summary>
public enum Protection
{
    /// <summary>Nothing: the value is disclosed, and the reason says why that is acceptable.</summary>
    None = 0,

    /// <summary>Calibrated noise, charged to the party's ledger.</summary>
    Noise = 1,

    /// <summary>Randomised response, charged to the party's ledger once.</summary>
    RandomizedResponse = 2,

    /// <summary>Encryption under the key of a named party, or a mask that only the receiver knows; nothing is charged.</summary>
    Encryption = 3,
}

/// <summary>A value that may leave its party. The one type a channel accepts.</summary>
/// <typeparam name="T">The payload.</typeparam>
/// <remarks>There is no public constructor. <see cref="GaussianMechanism.Release{T}"/> makes one by adding noise and charging the ledger,
/// <see cref="Disclosure.Unprotected{T}"/> by stating a reason. The instance is immutable: sending it again sends the same values.</remarks>
public sealed class Released<T> where T : Payload
{
    internal Released(T payload, Protection protection, string name) => (Payload, Protection, Name) = (payload, protection, name);

    /// <summary>The value as it may be seen by the receiver.</summary>
    public T Payload { get; }

    /// <summary>What protects the value.</summary>
    public Protection Protection { get; }

    /// <summary>Name under which the report counts this release, such as <c>training scores</c>.</summary>
    public string Name { get; }
}

/// <summary>Releases without protection. Each states its reason, and the report counts it.</summary>
public static class Disclosure
{
    /// <summary>Lets a value leave as it is.</summary>
    /// <typeparam name="T">The payload.</typeparam>
    /// <param name="value">What leaves.</param>
    /// <param name="reason">Why that is acceptable; the report lists it. Not empty.</param>
    /// <returns>The value, releasable.</returns>
    /// <exception cref="ArgumentException">The reason is empty.</exception>
    public static Released<T> Unprotected<T>(T value, string reason) where T : Payload
    {
        ArgumentNullException.ThrowIfNull(value);
        ArgumentException.ThrowIfNullOrWhiteSpace(reason);
        return new Released<T>(value, Protection.None, reason);
    }
}
